"""Read response bodies with botocore: what it does not know in them, and whether it reads all that it knows.

A JSON list of {"action", "body"} on stdin; on stdout {"version", "answers"}: for each answer the elements that
botocore's model lacks ("unknown"), and how many values the body has that it should read ("sent") and did ("read").
"""

import json
import sys
import xml.etree.ElementTree as ElementTree

import botocore.parsers
import botocore.session


def local(element):
    return element.tag.rpartition("}")[2]


def sent(element, shape, path, unknown):
    """How many values the element holds that the shape knows."""
    if shape.type_name == "structure":
        members = {m.serialization.get("name", name): m for name, m in shape.members.items()}
        count = 0
        for child in element:
            name = local(child)
            if name in members:
                count += sent(child, members[name], path + "." + name, unknown)
            elif path or name != "requestId":
                unknown.append(path + "." + name)
        return count
    if shape.type_name == "list":
        item = shape.member.serialization.get("name", "item")
        count = 0
        for child in element:
            if local(child) == item:
                count += sent(child, shape.member, path, unknown)
            else:
                unknown.append(path + "." + local(child))
        return count
    return 1


def read(value):
    """How many values were read."""
    if isinstance(value, dict):
        return sum(read(v) for v in value.values())
    if isinstance(value, list):
        return sum(read(v) for v in value)
    return 1


session = botocore.session.Session()
model = session.get_service_model("ec2")
parser = botocore.parsers.create_parser(model.protocol)
answers = json.load(sys.stdin)
for answer in answers:
    answer["unknown"], answer["sent"], answer["read"] = [], 0, 0
    if answer["action"] not in model.operation_names:
        answer["unknown"].append(answer["action"])
        continue
    shape = model.operation_model(answer["action"]).output_shape
    body = answer.pop("body").encode()
    if shape is None:
        continue
    answer["sent"] = sent(ElementTree.fromstring(body), shape, "", answer["unknown"])
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, shape)
    parsed.pop("ResponseMetadata")
    answer["read"] = read(parsed)
json.dump({"version": botocore.__version__, "answers": answers}, sys.stdout)
