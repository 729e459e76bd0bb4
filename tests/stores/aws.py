"""Secrets Manager and the Security Token Service, from moto, with authentication.

Usage: aws.py PORT SECRETS, where SECRETS is a JSON object of names and values. It prints a JSON line with keys and
a role, and serves until its input ends.
moto checks the signature and the policy of every request after the set-up and one login by web
identity, which has no signature.
"""

import json
import os
import sys

SECRETS = json.loads(sys.argv[2])
# Five calls below, one for each secret, and AssumeRoleWithWebIdentity.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = str(5 + len(SECRETS) + 1)

import boto3
from moto.server import ThreadedMotoServer

PORT = int(sys.argv[1])
POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}}
TRUST = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity"}}

server = ThreadedMotoServer(ip_address="127.0.0.1", port=PORT, verbose=False)
server.start()
client = dict(
    endpoint_url=f"http://127.0.0.1:{PORT}",
    region_name="eu-central-1",
    aws_access_key_id="setup",
    aws_secret_access_key="setup",
)
iam = boto3.client("iam", **client)
iam.create_user(UserName="ampoule")
iam.put_user_policy(UserName="ampoule", PolicyName="read", PolicyDocument=json.dumps(POLICY))
key = iam.create_access_key(UserName="ampoule")["AccessKey"]
role = iam.create_role(RoleName="ampoule", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
iam.put_role_policy(RoleName="ampoule", PolicyName="read", PolicyDocument=json.dumps(POLICY))
secrets = boto3.client("secretsmanager", **client)
for name, value in SECRETS.items():
    secrets.create_secret(Name=name, SecretString=value)
print(json.dumps({"keyId": key["AccessKeyId"], "secret": key["SecretAccessKey"], "role": role}), flush=True)
sys.stdin.read()
