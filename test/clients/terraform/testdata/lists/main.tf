# Managed prefix lists, and rules that stand on them.

variable "offices" { default = ["203.0.113.0/24"] }
variable "size" { default = 5 }
variable "name" { default = "offices" }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_ec2_managed_prefix_list" "offices" {
  name           = var.name
  address_family = "IPv4"
  max_entries    = var.size

  dynamic "entry" {
    for_each = var.offices
    content {
      cidr        = entry.value
      description = "office ${entry.value}"
    }
  }

  tags = { Name = "offices" }
}

resource "aws_ec2_managed_prefix_list" "six" {
  name           = "six"
  address_family = "IPv6"
  max_entries    = 3
}

resource "aws_ec2_managed_prefix_list_entry" "six" {
  prefix_list_id = aws_ec2_managed_prefix_list.six.id
  cidr           = "2001:db8::/48"
  description    = "documentation"
}

resource "aws_security_group" "web" {
  name   = "web"
  vpc_id = aws_vpc.main.id

  ingress {
    description     = "offices"
    from_port       = 443
    to_port         = 443
    protocol        = "tcp"
    prefix_list_ids = [aws_ec2_managed_prefix_list.offices.id]
  }
}

resource "aws_vpc_security_group_egress_rule" "six" {
  security_group_id = aws_security_group.web.id
  ip_protocol       = "-1"
  prefix_list_id    = aws_ec2_managed_prefix_list.six.id
}

data "aws_ec2_managed_prefix_list" "offices" {
  id         = aws_ec2_managed_prefix_list.offices.id
  depends_on = [aws_ec2_managed_prefix_list.offices]
}

data "aws_ec2_managed_prefix_lists" "all" {
  depends_on = [aws_ec2_managed_prefix_list.offices, aws_ec2_managed_prefix_list.six]
}

output "entries" {
  value = data.aws_ec2_managed_prefix_list.offices.entries[*].cidr
}
