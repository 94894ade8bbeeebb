# VPCs of one account and of two, connected, with rules that reference groups across.

variable "partner_access_key" {}
variable "partner_secret_key" {}
variable "resolve" { default = false }
variable "environment" { default = "test" }

provider "aws" {
  alias      = "partner"
  region     = "us-east-1"
  access_key = var.partner_access_key
  secret_key = var.partner_secret_key

  endpoints {
    ec2 = var.endpoint
    sts = var.endpoint
  }
}

data "aws_caller_identity" "partner" {
  provider = aws.partner
}

resource "aws_vpc" "ours" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_vpc" "second" {
  cidr_block           = "10.1.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_vpc" "theirs" {
  provider             = aws.partner
  cidr_block           = "10.2.0.0/16"
  enable_dns_hostnames = true
}

# Within the account: accepted at once.
resource "aws_vpc_peering_connection" "inside" {
  vpc_id      = aws_vpc.ours.id
  peer_vpc_id = aws_vpc.second.id
  auto_accept = true
  tags        = { Name = "inside", Environment = var.environment }

  requester {
    allow_remote_vpc_dns_resolution = var.resolve
  }

  accepter {
    allow_remote_vpc_dns_resolution = true
  }
}

# With another account: each side has its own part.
resource "aws_vpc_peering_connection" "across" {
  vpc_id        = aws_vpc.ours.id
  peer_vpc_id   = aws_vpc.theirs.id
  peer_owner_id = data.aws_caller_identity.partner.account_id
  tags          = { Name = "across", Side = "requester" }
}

resource "aws_vpc_peering_connection_accepter" "across" {
  provider                  = aws.partner
  vpc_peering_connection_id = aws_vpc_peering_connection.across.id
  auto_accept               = true
  tags                      = { Name = "across", Side = "accepter" }
}

resource "aws_vpc_peering_connection_options" "ours" {
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.across.id

  requester {
    allow_remote_vpc_dns_resolution = var.resolve
  }
}

resource "aws_vpc_peering_connection_options" "theirs" {
  provider                  = aws.partner
  vpc_peering_connection_id = aws_vpc_peering_connection_accepter.across.id

  accepter {
    allow_remote_vpc_dns_resolution = true
  }
}

resource "aws_security_group" "ours" {
  name   = "ours"
  vpc_id = aws_vpc.ours.id
}

resource "aws_security_group" "second" {
  name   = "second"
  vpc_id = aws_vpc.second.id
}

resource "aws_security_group" "theirs" {
  provider = aws.partner
  name     = "theirs"
  vpc_id   = aws_vpc.theirs.id
}

resource "aws_vpc_security_group_ingress_rule" "second" {
  security_group_id            = aws_security_group.ours.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
  referenced_security_group_id = aws_security_group.second.id
  depends_on                   = [aws_vpc_peering_connection.inside]
}

resource "aws_vpc_security_group_ingress_rule" "theirs" {
  security_group_id            = aws_security_group.ours.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = "${data.aws_caller_identity.partner.account_id}/${aws_security_group.theirs.id}"
  depends_on                   = [aws_vpc_peering_connection_accepter.across]
}

resource "aws_security_group_rule" "theirs" {
  security_group_id        = aws_security_group.ours.id
  type                     = "egress"
  protocol                 = "udp"
  from_port                = 53
  to_port                  = 53
  source_security_group_id = "${data.aws_caller_identity.partner.account_id}/${aws_security_group.theirs.id}"
  depends_on               = [aws_vpc_peering_connection_accepter.across]
}

resource "aws_security_group" "inline" {
  name   = "inline"
  vpc_id = aws_vpc.ours.id

  ingress {
    protocol        = "tcp"
    from_port       = 8080
    to_port         = 8080
    security_groups = ["${data.aws_caller_identity.partner.account_id}/${aws_security_group.theirs.id}"]
  }

  depends_on = [aws_vpc_peering_connection_accepter.across]
}

data "aws_vpc_peering_connection" "across" {
  id         = aws_vpc_peering_connection.across.id
  depends_on = [aws_vpc_peering_connection_accepter.across]
}

data "aws_vpc_peering_connections" "active" {
  filter {
    name   = "status-code"
    values = ["active"]
  }
  depends_on = [aws_vpc_peering_connection.inside, aws_vpc_peering_connection_accepter.across]
}

output "active" {
  value = length(data.aws_vpc_peering_connections.active.ids)
}

output "peer" {
  value = data.aws_vpc_peering_connection.across.peer_cidr_block
}
