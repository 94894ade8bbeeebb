# Rules as resources of their own, of each kind of source.

variable "web_port" { default = 80 }
variable "office" { default = "203.0.113.0/24" }
variable "office_description" { default = "the office" }
variable "backend_protocol" { default = "tcp" }
variable "environment" { default = "test" }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_security_group" "web" {
  name   = "web"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "backend" {
  name   = "backend"
  vpc_id = aws_vpc.main.id
}

resource "aws_ec2_managed_prefix_list" "partners" {
  name           = "partners"
  address_family = "IPv4"
  max_entries    = 2

  entry {
    cidr = "198.51.100.0/24"
  }
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "tcp"
  from_port         = var.web_port
  to_port           = var.web_port
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "web6" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "tcp"
  from_port         = var.web_port
  to_port           = var.web_port
  cidr_ipv6         = "::/0"
}

resource "aws_vpc_security_group_ingress_rule" "office" {
  security_group_id = aws_security_group.web.id
  description       = var.office_description
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  cidr_ipv4         = var.office
  tags              = { Name = "office", Environment = var.environment }
}

resource "aws_vpc_security_group_ingress_rule" "ping" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "icmp"
  from_port         = 8
  to_port           = -1
  cidr_ipv4         = "10.0.0.0/8"
}

resource "aws_vpc_security_group_ingress_rule" "partners" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "udp"
  from_port         = 5000
  to_port           = 5999
  prefix_list_id    = aws_ec2_managed_prefix_list.partners.id
}

resource "aws_vpc_security_group_ingress_rule" "itself" {
  security_group_id            = aws_security_group.backend.id
  ip_protocol                  = "-1"
  referenced_security_group_id = aws_security_group.backend.id
}

resource "aws_vpc_security_group_ingress_rule" "from_web" {
  security_group_id            = aws_security_group.backend.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.web.id
}

resource "aws_vpc_security_group_egress_rule" "backend" {
  security_group_id            = aws_security_group.web.id
  ip_protocol                  = var.backend_protocol
  from_port                    = var.backend_protocol == "-1" ? null : 5432
  to_port                      = var.backend_protocol == "-1" ? null : 5432
  referenced_security_group_id = aws_security_group.backend.id
  tags                         = { Environment = var.environment }
}

data "aws_vpc_security_group_rule" "office" {
  security_group_rule_id = aws_vpc_security_group_ingress_rule.office.security_group_rule_id
}

output "office" {
  value = "${data.aws_vpc_security_group_rule.office.from_port} ${data.aws_vpc_security_group_rule.office.cidr_ipv4}"
}
