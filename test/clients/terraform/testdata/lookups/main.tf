# Data sources: what is there, found in each way.

data "aws_caller_identity" "me" {}

data "aws_regions" "all" {}

data "aws_availability_zones" "available" {
  state = "available"
}

data "aws_availability_zone" "first" {
  name = data.aws_availability_zones.available.names[0]
}

data "aws_ec2_instance_type" "small" {
  instance_type = "t3.micro"
}

data "aws_ec2_instance_type_offerings" "here" {
  filter {
    name   = "instance-type"
    values = ["t3.micro"]
  }
}

data "aws_ami" "newest" {
  owners      = ["sallyport"]
  most_recent = true

  filter {
    name   = "virtualization-type"
    values = ["hvm"]
  }
}

data "aws_vpc" "default" {
  default = true
}

data "aws_vpcs" "all" {}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_subnet" "first" {
  vpc_id            = data.aws_vpc.default.id
  availability_zone = data.aws_availability_zone.first.name
}

resource "aws_security_group" "web" {
  name   = "web"
  vpc_id = data.aws_vpc.default.id
  tags   = { Name = "web" }
}

data "aws_security_group" "by_name" {
  name       = "web"
  vpc_id     = data.aws_vpc.default.id
  depends_on = [aws_security_group.web]
}

data "aws_security_group" "by_tag" {
  tags       = { Name = "web" }
  depends_on = [aws_security_group.web]
}

data "aws_security_groups" "of_vpc" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
  depends_on = [aws_security_group.web]
}

output "found" {
  value = {
    zones   = data.aws_availability_zones.available.names
    subnets = length(data.aws_subnets.default.ids)
    vpcs    = length(data.aws_vpcs.all.ids)
    groups  = length(data.aws_security_groups.of_vpc.ids)
    same    = data.aws_security_group.by_name.id == data.aws_security_group.by_tag.id
    image   = data.aws_ami.newest.id
  }
}
