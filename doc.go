// Package sallyport is the root of the module and holds no code of the product.
//
// The programs are under cmd/, the rooms they are built from under internal/; ARCHITECTURE.md draws
// how a request, a change and a packet go through them. What lives here are the house rules that a
// machine can hold, as ordinary tests: which room may import which, what the programs may link, how
// long a file may be, which promise of the user guide is tested.
package sallyport
