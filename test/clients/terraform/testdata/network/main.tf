# A VPC with blocks of both families, its subnets and their attributes.

variable "dns_hostnames" { default = false }
variable "usage_metrics" { default = false }
variable "public_subnet" { default = false }
variable "ipv6" { default = false }
variable "environment" { default = "test" }

resource "aws_vpc" "main" {
  cidr_block                           = "10.0.0.0/16"
  enable_dns_hostnames                 = var.dns_hostnames
  enable_network_address_usage_metrics = var.usage_metrics
  assign_generated_ipv6_cidr_block     = var.ipv6
  tags                                 = { Environment = var.environment }

  lifecycle {
    ignore_changes = [tags["Owner"]]
  }
}

resource "aws_vpc_ipv4_cidr_block_association" "more" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.1.0.0/16"
}

resource "aws_subnet" "a" {
  vpc_id                  = aws_vpc.main.id
  cidr_block              = "10.0.1.0/24"
  availability_zone       = "us-east-1a"
  map_public_ip_on_launch = var.public_subnet
  tags                    = { Environment = var.environment }
}

resource "aws_subnet" "b" {
  vpc_id                          = aws_vpc_ipv4_cidr_block_association.more.vpc_id
  cidr_block                      = "10.1.1.0/24"
  availability_zone               = "us-east-1b"
  ipv6_cidr_block                 = var.ipv6 ? cidrsubnet(aws_vpc.main.ipv6_cidr_block, 8, 1) : null
  assign_ipv6_address_on_creation = var.ipv6
  tags                            = { Environment = var.environment }
}

resource "aws_ec2_tag" "vpc" {
  resource_id = aws_vpc.main.id
  key         = "Owner"
  value       = "team ${var.environment}"
}
