"""Parse response bodies with botocore's own parsers.

A JSON list on stdin, on stdout the same list with, in each answer, "parsed", and what this botocore's model does
not have: "unknown" names the members, which are taken out of "sent", or the whole operation.
"""

import datetime
import json
import sys

import botocore.parsers
import botocore.session


def plain(value):
    if isinstance(value, datetime.datetime):
        text = value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return text.rstrip("0").rstrip(".") + "Z"  # as Go prints it
    raise TypeError(type(value))


def prune(value, shape, path, unknown):
    """Take out of value what the shape does not have."""
    if shape.type_name == "list":
        for item in value:
            prune(item, shape.member, path, unknown)
    elif shape.type_name == "structure":
        for name in list(value):
            if name in shape.members:
                prune(value[name], shape.members[name], path + "." + name, unknown)
            else:
                unknown.append(path + "." + name)
                del value[name]


session = botocore.session.Session()
models = {}
answers = json.load(sys.stdin)
for answer in answers:
    service = answer["service"]
    if service not in models:
        model = session.get_service_model(service)
        models[service] = model, botocore.parsers.create_parser(model.protocol)
    model, parser = models[service]
    answer["unknown"] = []
    if answer["action"] not in model.operation_names:
        answer["unknown"].append(answer["action"])
        continue
    shape = model.operation_model(answer["action"]).output_shape
    if shape is not None:
        prune(answer["sent"], shape, answer["action"], answer["unknown"])
    response = {"status_code": answer["status"], "headers": {}, "body": answer["body"].encode()}
    answer["parsed"] = parser.parse(response, shape)
json.dump({"version": botocore.__version__, "answers": answers}, sys.stdout, default=plain)
