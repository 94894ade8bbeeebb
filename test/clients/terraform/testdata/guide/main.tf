# The guide's example: web servers that the world reaches and one network administers, which reach database servers
# and nothing else; database servers that only they reach.

variable "network" { default = "203.0.113.0/24" }

resource "aws_vpc" "main" {
  cidr_block                       = "10.0.0.0/16"
  assign_generated_ipv6_cidr_block = true
}

resource "aws_security_group" "web" {
  name        = "web"
  description = "web servers"
  vpc_id      = aws_vpc.main.id
}

resource "aws_security_group" "database" {
  for_each    = local.databases
  name        = each.key
  description = "${each.key} servers"
  vpc_id      = aws_vpc.main.id
}

locals {
  databases = { sqlserver = 1433, mysql = 3306 }
  world = {
    for pair in setproduct([80, 443], ["0.0.0.0/0", "::/0"]) : "${pair[0]} ${pair[1]}" => { port = pair[0], from = pair[1] }
  }
}

resource "aws_vpc_security_group_ingress_rule" "world" {
  for_each          = local.world
  security_group_id = aws_security_group.web.id
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = strcontains(each.value.from, ":") ? null : each.value.from
  cidr_ipv6         = strcontains(each.value.from, ":") ? each.value.from : null
}

resource "aws_vpc_security_group_ingress_rule" "administration" {
  for_each          = { ssh = 22, rdp = 3389 }
  security_group_id = aws_security_group.web.id
  description       = "${each.key} from our network"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  cidr_ipv4         = var.network
}

resource "aws_vpc_security_group_egress_rule" "database" {
  for_each                     = local.databases
  security_group_id            = aws_security_group.web.id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.database[each.key].id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  for_each                     = local.databases
  security_group_id            = aws_security_group.database[each.key].id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
  referenced_security_group_id = aws_security_group.web.id
}

data "aws_vpc_security_group_rules" "web" {
  filter {
    name   = "group-id"
    values = [aws_security_group.web.id]
  }
  depends_on = [
    aws_vpc_security_group_ingress_rule.world, aws_vpc_security_group_ingress_rule.administration,
    aws_vpc_security_group_egress_rule.database,
  ]
}

output "rules_of_web" {
  value = length(data.aws_vpc_security_group_rules.web.ids)
}
