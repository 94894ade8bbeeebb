# Instances, with one interface and with several, and what changes while they run.

variable "groups" { default = ["a"] }
variable "type" { default = "t3.micro" }
variable "source_dest_check" { default = true }
variable "environment" { default = "test" }
variable "second" { default = true }

data "aws_ami" "lab" {
  owners      = ["sallyport"]
  most_recent = true
}

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "a" {
  vpc_id     = aws_vpc.main.id
  cidr_block = "10.0.1.0/24"
}

resource "aws_security_group" "of" {
  for_each = toset(["a", "b"])
  name     = each.key
  vpc_id   = aws_vpc.main.id
}

# The primary interface and its groups come with the instance.
resource "aws_instance" "one" {
  ami                    = data.aws_ami.lab.id
  instance_type          = var.type
  subnet_id              = aws_subnet.a.id
  private_ip             = "10.0.1.10"
  secondary_private_ips  = ["10.0.1.11", "10.0.1.12"]
  source_dest_check      = var.source_dest_check
  vpc_security_group_ids = [for g in var.groups : aws_security_group.of[g].id]
  user_data              = "#!/bin/sh\necho hello\n"
  tags                   = { Name = "one", Environment = var.environment }
}

resource "aws_network_interface" "second" {
  subnet_id       = aws_subnet.a.id
  security_groups = [aws_security_group.of["b"].id]
}

resource "aws_network_interface_attachment" "second" {
  count                = var.second ? 1 : 0
  instance_id          = aws_instance.one.id
  network_interface_id = aws_network_interface.second.id
  device_index         = 1
}

# The primary interface was there before, and stays.
resource "aws_network_interface" "primary" {
  subnet_id = aws_subnet.a.id
}

resource "aws_instance" "two" {
  ami           = data.aws_ami.lab.id
  instance_type = "t3.micro"

  network_interface {
    device_index         = 0
    network_interface_id = aws_network_interface.primary.id
  }
}

resource "aws_network_interface_sg_attachment" "two" {
  security_group_id    = aws_security_group.of["a"].id
  network_interface_id = aws_instance.two.primary_network_interface_id
}

data "aws_instance" "one" {
  instance_id = aws_instance.one.id
}

data "aws_instances" "of_a" {
  filter {
    name   = "instance.group-id"
    values = [aws_security_group.of["a"].id]
  }
  instance_state_names = ["running"]
  depends_on           = [aws_instance.one, aws_network_interface_sg_attachment.two]
}

output "found" {
  value = {
    address = data.aws_instance.one.private_ip
    of_a    = length(data.aws_instances.of_a.ids)
  }
}
