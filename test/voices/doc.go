// Package voices holds the three-voices test: explain on the snapshot, the
// interpreter on the compiled programs and the kernel must say the same of
// every packet, in random worlds whose seed is printed. It has no code but
// tests.
package voices
