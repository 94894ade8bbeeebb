# A group that is used in a second VPC, by an interface there.

variable "used" { default = true }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_vpc" "second" {
  cidr_block = "10.1.0.0/16"
}

resource "aws_subnet" "second" {
  vpc_id     = aws_vpc.second.id
  cidr_block = "10.1.1.0/24"
}

resource "aws_security_group" "shared" {
  name   = "shared"
  vpc_id = aws_vpc.main.id
}

resource "aws_vpc_security_group_vpc_association" "second" {
  security_group_id = aws_security_group.shared.id
  vpc_id            = aws_vpc.second.id
}

resource "aws_network_interface" "second" {
  count           = var.used ? 1 : 0
  subnet_id       = aws_subnet.second.id
  security_groups = [aws_vpc_security_group_vpc_association.second.security_group_id]
}

output "state" {
  value = aws_vpc_security_group_vpc_association.second.state
}
