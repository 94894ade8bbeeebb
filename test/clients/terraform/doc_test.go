// Package terraform_test holds Terraform and its AWS provider, unmodified, against a fresh server: what they make,
// find again unchanged, change in place, adopt, import and destroy.
//
// A configuration is a folder of testdata, with the provider of provider.tf. TestConfigurations says in which steps
// it is applied; after each step a second plan must be empty.
package terraform_test
