// Package clients_test holds what real clients make of our wire: the AWS CLI, boto3, Terraform and the SDKs.
package clients_test
