// Package script runs what the documents tell people to type, and compares
// what they are told to see. It has no code but tests.
package script
