// Package e2e drives the real programs with real clients and real packets: a
// sallyport of its own per test, lab instances in network namespaces, the AWS
// CLI outside. It has no code but tests, and needs root.
package e2e
