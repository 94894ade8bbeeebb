# A tier: a subnet, a group, an interface that carries it, and who reaches its port.

variable "name" {}
variable "vpc_id" {}
variable "cidr_block" {}
variable "port" {}

variable "sources" {
  default = {}
}

variable "prefix_lists" {
  default = {}
}

variable "targets" {
  default = {}
}

resource "aws_subnet" "this" {
  vpc_id     = var.vpc_id
  cidr_block = var.cidr_block
  tags       = { Name = var.name }
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "The tier ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = var.name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_network_interface" "this" {
  subnet_id       = aws_subnet.this.id
  security_groups = [aws_security_group.this.id]
  tags            = { Name = var.name }
}

resource "aws_vpc_security_group_ingress_rule" "group" {
  for_each                     = var.sources
  security_group_id            = aws_security_group.this.id
  description                  = "from ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  referenced_security_group_id = each.value
}

resource "aws_vpc_security_group_ingress_rule" "prefix_list" {
  for_each          = var.prefix_lists
  security_group_id = aws_security_group.this.id
  description       = "from ${each.key}"
  ip_protocol       = "tcp"
  from_port         = var.port
  to_port           = var.port
  prefix_list_id    = each.value
}

resource "aws_vpc_security_group_egress_rule" "group" {
  for_each                     = var.targets
  security_group_id            = aws_security_group.this.id
  description                  = "to ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.group
}

output "group" {
  value = aws_security_group.this.id
}
