"""Print requests that botocore signs, as a JSON list, for the access key and the secret in argv."""

import json
import sys

import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

requests = []


class Stop(Exception):
    """Ends a call where the request would be sent."""


def record(name):
    def before_send(request: AWSPreparedRequest, **_):
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        headers = {k: v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()}
        requests.append({"name": name, "method": request.method, "url": request.url, "headers": headers, "body": body.decode()})
        raise Stop

    return before_send


def client(service, endpoint="http://127.0.0.1:4750", token=None):
    session = botocore.session.Session()
    session.set_credentials(sys.argv[1], sys.argv[2], token)
    return session.create_client(
        service, region_name="eu-west-1", endpoint_url=endpoint, config=Config(retries={"max_attempts": 0})
    )


def sign(name, c, method, **arguments):
    c.meta.events.register("before-send", record(name))
    try:
        getattr(c, method)(**arguments)
    except Stop:
        pass


odd = [{"Name": "tag:a b", "Values": ["é/+&=%~*", "x'\"(y)"]}]
sign("ec2", client("ec2"), "describe_vpcs", Filters=odd)
sign("sts", client("sts"), "get_caller_identity")
sign("session token", client("ec2", token="to/ken+=="), "describe_vpcs")
sign("path prefix", client("ec2", endpoint="http://127.0.0.1:4750/some/prefix~1/"), "describe_vpcs")
for token in (None, "to/ken+=="):
    url = client("ec2", token=token).generate_presigned_url("describe_vpcs", Params={"Filters": odd}, ExpiresIn=60, HttpMethod="GET")
    requests.append({"name": "presigned " + str(token), "method": "GET", "url": url, "headers": {}, "body": ""})
url = client("sts").generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
requests.append({"name": "presigned sts", "method": "GET", "url": url, "headers": {}, "body": ""})
json.dump(requests, sys.stdout)
