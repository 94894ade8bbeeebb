# What stands around a VPC: gateways, route tables, network ACLs.

variable "to" { default = "0.0.0.0/0" }
variable "environment" { default = "test" }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "a" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.1.0/24"
}

resource "aws_subnet" "b" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.2.0/24"
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Environment = var.environment }
}

resource "aws_vpc" "second" {
  cidr_block = "10.1.0.0/16"
}

resource "aws_internet_gateway" "second" {}

resource "aws_internet_gateway_attachment" "second" {
  internet_gateway_id = aws_internet_gateway.second.id
  vpc_id              = aws_vpc.second.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Environment = var.environment }

  route {
    cidr_block = var.to
    gateway_id = aws_internet_gateway.main.id
  }
}

resource "aws_route_table_association" "a" {
  subnet_id      = aws_subnet.a.id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "other" {
  vpc_id = aws_vpc.main.id
}

resource "aws_route" "other" {
  route_table_id         = aws_route_table.other.id
  destination_cidr_block = "192.0.2.0/24"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_main_route_table_association" "main" {
  vpc_id         = aws_vpc.main.id
  route_table_id = aws_route_table.other.id
}

resource "aws_network_acl" "open" {
  vpc_id     = aws_vpc.main.id
  subnet_ids = [aws_subnet.b.id]

  ingress {
    rule_no    = 100
    action     = "allow"
    protocol   = "-1"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }

  egress {
    rule_no    = 100
    action     = "allow"
    protocol   = "-1"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }
}

resource "aws_network_acl" "empty" {
  vpc_id = aws_vpc.main.id

  lifecycle {
    ignore_changes = [ingress, egress]
  }
}

resource "aws_network_acl_rule" "in" {
  network_acl_id = aws_network_acl.empty.id
  rule_number    = 200
  egress         = false
  protocol       = "-1"
  rule_action    = "allow"
  cidr_block     = "0.0.0.0/0"
}

data "aws_internet_gateway" "main" {
  filter {
    name   = "attachment.vpc-id"
    values = [aws_vpc.main.id]
  }
  depends_on = [aws_internet_gateway.main]
}

data "aws_route_table" "a" {
  subnet_id  = aws_subnet.a.id
  depends_on = [aws_route_table_association.a]
}

data "aws_network_acls" "main" {
  vpc_id     = aws_vpc.main.id
  depends_on = [aws_network_acl.open, aws_network_acl.empty]
}

output "found" {
  value = {
    acls    = length(data.aws_network_acls.main.ids)
    gateway = data.aws_internet_gateway.main.id == aws_internet_gateway.main.id
    table   = data.aws_route_table.a.id == aws_route_table.public.id
    routes  = length(data.aws_route_table.a.routes)
  }
}
