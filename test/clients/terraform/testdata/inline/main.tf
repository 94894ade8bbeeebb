# Groups whose rules stand inside them.

variable "web_port" { default = 80 }
variable "office" { default = "203.0.113.0/24" }
variable "office_description" { default = "the office" }
variable "environment" { default = "test" }
variable "bastion_description" { default = "jump host" }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_security_group" "bastion" {
  name_prefix = "bastion-"
  description = var.bastion_description
  vpc_id      = aws_vpc.main.id
  tags        = { Environment = var.environment }

  # The group stands in a rule of the other one, so its successor must be there before it goes.
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group" "web" {
  name_prefix = "web-"
  description = "Web servers, #1 (front & back)"
  vpc_id      = aws_vpc.main.id
  tags        = { Environment = var.environment }

  ingress {
    description      = "web"
    from_port        = var.web_port
    to_port          = var.web_port
    protocol         = "tcp"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  ingress {
    description = var.office_description
    from_port   = 8000
    to_port     = 8999
    protocol    = "tcp"
    cidr_blocks = ["192.0.2.0/24", var.office]
  }

  ingress {
    description = "ping"
    from_port   = 8
    to_port     = 0
    protocol    = "icmp"
    cidr_blocks = ["0.0.0.0/0"]
  }

  ingress {
    from_port        = -1
    to_port          = -1
    protocol         = "icmpv6"
    ipv6_cidr_blocks = ["::/0"]
  }

  ingress {
    description     = "ssh from the bastion, and among ourselves"
    from_port       = 22
    to_port         = 22
    protocol        = "tcp"
    security_groups = [aws_security_group.bastion.id]
    self            = true
  }

  ingress {
    description = "ESP"
    from_port   = 0
    to_port     = 0
    protocol    = "50"
    cidr_blocks = ["192.0.2.1/32"]
  }

  egress {
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

# A guest that refers to its host. When it goes, rules that refer to it, of which Terraform knows nothing, go first:
# its own references tell in which groups to look.
variable "with_guest" { default = true }

resource "aws_security_group" "host" {
  name   = "host"
  vpc_id = aws_vpc.main.id
}

resource "aws_security_group" "guest" {
  count                  = var.with_guest ? 1 : 0
  name                   = "guest"
  vpc_id                 = aws_vpc.main.id
  revoke_rules_on_delete = true

  egress {
    from_port       = 0
    to_port         = 65535
    protocol        = "udp"
    security_groups = [aws_security_group.host.id]
  }
}

output "host_and_guest" {
  value = concat([aws_security_group.host.id], aws_security_group.guest[*].id)
}

data "aws_vpc_security_group_rules" "web" {
  filter {
    name   = "group-id"
    values = [aws_security_group.web.id]
  }
}

output "rules" {
  value = length(data.aws_vpc_security_group_rules.web.ids)
}
