// Package feedpb is the generated code of the agent protocol, feed.proto. It
// holds messages as they travel, checked by nobody: only room feed, which
// checks, reads and writes them.
package feedpb

//go:generate ./generate
