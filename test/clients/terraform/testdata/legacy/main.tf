# Rules as the older resource, which stands for several at once.

variable "web_port" { default = 80 }
variable "description" { default = "as it was" }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_security_group" "web" {
  name   = "web"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "database" {
  name   = "database"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group_rule" "web" {
  security_group_id = aws_security_group.web.id
  type              = "ingress"
  description       = var.description
  protocol          = "tcp"
  from_port         = var.web_port
  to_port           = var.web_port
  cidr_blocks       = ["10.0.0.0/8", "192.0.2.0/24"]
  ipv6_cidr_blocks  = ["2001:db8::/32"]
}

resource "aws_security_group_rule" "members" {
  security_group_id = aws_security_group.web.id
  type              = "ingress"
  description       = var.description
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  self              = true
}

resource "aws_security_group_rule" "ping" {
  security_group_id = aws_security_group.web.id
  type              = "ingress"
  protocol          = "icmp"
  from_port         = -1
  to_port           = -1
  cidr_blocks       = ["0.0.0.0/0"]
}

resource "aws_security_group_rule" "database" {
  security_group_id        = aws_security_group.database.id
  type                     = "ingress"
  description              = var.description
  protocol                 = "tcp"
  from_port                = 5432
  to_port                  = 5432
  source_security_group_id = aws_security_group.web.id
}

resource "aws_security_group_rule" "out" {
  security_group_id        = aws_security_group.web.id
  type                     = "egress"
  description              = var.description
  protocol                 = "tcp"
  from_port                = 5432
  to_port                  = 5432
  source_security_group_id = aws_security_group.database.id
}
