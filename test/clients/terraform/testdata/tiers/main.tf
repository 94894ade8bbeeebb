# Three tiers from one module: offices reach the front, the front the application, the application the data.

variable "offices" { default = ["203.0.113.0/24"] }
variable "application_port" { default = 8080 }

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_ec2_managed_prefix_list" "offices" {
  name           = "offices"
  address_family = "IPv4"
  max_entries    = 10

  dynamic "entry" {
    for_each = var.offices
    content {
      cidr = entry.value
    }
  }
}

module "front" {
  source       = "./tier"
  name         = "front"
  vpc_id       = aws_vpc.main.id
  cidr_block   = "10.0.1.0/24"
  port         = 443
  prefix_lists = { offices = aws_ec2_managed_prefix_list.offices.id }
  targets      = { application = { group = module.application.group, port = var.application_port } }
}

module "application" {
  source     = "./tier"
  name       = "application"
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.2.0/24"
  port       = var.application_port
  sources    = { front = module.front.group }
  targets    = { data = { group = module.data.group, port = 5432 } }
}

module "data" {
  source     = "./tier"
  name       = "data"
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.3.0/24"
  port       = 5432
  sources    = { application = module.application.group }
}
