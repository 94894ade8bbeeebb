# Interfaces that no instance has yet, their groups and their addresses.

variable "groups" { default = ["a"] }
variable "description" { default = "first" }
variable "source_dest_check" { default = true }
variable "secondary" { default = 2 }

resource "aws_vpc" "main" {
  cidr_block                       = "10.0.0.0/16"
  assign_generated_ipv6_cidr_block = true
}

resource "aws_subnet" "a" {
  vpc_id          = aws_vpc.main.id
  cidr_block      = "10.0.1.0/24"
  ipv6_cidr_block = cidrsubnet(aws_vpc.main.ipv6_cidr_block, 8, 1)
}

resource "aws_security_group" "of" {
  for_each = toset(["a", "b", "c"])
  name     = each.key
  vpc_id   = aws_vpc.main.id
}

resource "aws_network_interface" "one" {
  subnet_id         = aws_subnet.a.id
  private_ips       = ["10.0.1.20"]
  description       = var.description
  source_dest_check = var.source_dest_check
  security_groups   = [for g in var.groups : aws_security_group.of[g].id]
  tags              = { Name = "one" }
}

resource "aws_network_interface" "many" {
  subnet_id          = aws_subnet.a.id
  private_ips_count  = var.secondary
  ipv6_address_count = 2

  lifecycle {
    ignore_changes = [security_groups]
  }
}

resource "aws_network_interface_sg_attachment" "many" {
  network_interface_id = aws_network_interface.many.id
  security_group_id    = aws_security_group.of["c"].id
}

data "aws_network_interface" "one" {
  id = aws_network_interface.one.id
}

data "aws_network_interfaces" "all" {
  filter {
    name   = "subnet-id"
    values = [aws_subnet.a.id]
  }
  depends_on = [aws_network_interface.one, aws_network_interface.many]
}

output "address" {
  value = data.aws_network_interface.one.private_ip
}
