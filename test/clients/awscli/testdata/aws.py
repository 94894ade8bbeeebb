"""Run AWS CLI commands, each in a process of its own in which the CLI is loaded already.

The CLI takes ten times as long to load as to run. This process loads it once; a connection
to the socket in argv is one command: its arguments, environment and folder as JSON, with its standard input, output
and error. A child is forked for it, runs the CLI's own main function, and answers its exit status.
"""

import contextlib
import gc
import io
import json
import os
import signal
import socket
import sys

import awscli.clidriver


def load():
    """The CLI with what its commands load: the models, waiters and paginators of the services."""
    driver = awscli.clidriver.create_clidriver()
    for service, command in (("ec2", "describe-vpcs"), ("sts", "get-caller-identity")):
        with contextlib.redirect_stdout(io.StringIO()):
            driver.main([service, command, "--generate-cli-skeleton"])  # reads all it would read, and calls nobody
        driver.session.create_client(service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-")
    driver.session.get_paginator_model("ec2")
    driver.session.get_waiter_model("ec2")
    return driver


def run(driver, connection):
    text, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    command = json.loads(text)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["dir"])
    sys.argv[0] = "aws"  # what the usage text begins with
    try:
        status = driver.main(command["args"])
    except SystemExit as end:  # the parser's way out
        status = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(str(status or 0).encode())


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
cli = load()
gc.freeze()  # what is loaded stays shared with the children
server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
server.bind(sys.argv[1])
server.listen()
print("ready", flush=True)
while True:
    accepted, _ = server.accept()
    if os.fork() == 0:
        server.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        run(cli, accepted)
        os._exit(0)
    accepted.close()
