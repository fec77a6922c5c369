"""The Python libraries spiffe and spiffe-tls, as a program that a test can drive.

Prints one event a line, like its fellows in Rust and Go: `svid ID SERIAL`, `listening ADDRESS`, `peer ID SERIAL`,
`reply TEXT`, `refused WHY`. Serial numbers are hexadecimal.
"""

import argparse
import queue
import socket

from cryptography import x509
from OpenSSL import SSL
from spiffe import JwtSvid, WorkloadApiClient, X509Source
from spiffetls import create_ssl_context, dial

PATIENCE = 30.0


def event(*words):
    print(*words, flush=True)


def show(svid):
    event("svid", svid.spiffe_id, format(svid.leaf.serial_number, "x"))


def spiffe_id(certificate):
    """The one URI of a certificate. The library has verified the chain; whose it is it leaves to us."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uri


def authorize(peer_id):
    return lambda certificate: spiffe_id(certificate.to_cryptography()) == peer_id


def show_peer(connection):
    certificate = connection.get_peer_certificate().to_cryptography()
    event("peer", spiffe_id(certificate), format(certificate.serial_number, "x"))
    return spiffe_id(certificate)


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(4096)
    return line.decode().rstrip()


def fetch(_):
    with WorkloadApiClient() as client:
        show(client.fetch_x509_svid(timeout=PATIENCE))


def token(arguments):
    with WorkloadApiClient() as client:
        event("reply", client.fetch_jwt_svid({arguments.audience}, timeout=PATIENCE).token)


def check(arguments):
    """Checks a JWT-SVID with the keys that the Workload API gives, then has the Workload API check it."""
    with WorkloadApiClient() as client:
        bundles = client.fetch_jwt_bundles(timeout=PATIENCE)

        def own():
            # This library takes a bundle, not a set of them: which one is for its user to find out.
            claimed = JwtSvid.parse_insecure(arguments.token, {arguments.audience}).spiffe_id
            bundle = bundles.get_bundle_for_trust_domain(claimed.trust_domain)
            return JwtSvid.parse_and_validate(arguments.token, bundle, {arguments.audience})

        checked(own)
        checked(lambda: client.validate_jwt_svid(arguments.token, arguments.audience, timeout=PATIENCE))


def checked(validate):
    try:
        event("reply", validate().spiffe_id)
    except Exception as error:  # whatever it raises, it has refused
        event("refused", " ".join(str(error).split()))


def watch(_):
    with X509Source(timeout_in_seconds=PATIENCE) as source:
        updates = queue.Queue()
        source.subscribe_for_updates(lambda: updates.put(None))
        while True:
            show(source.get_x509_context().default_svid)
            updates.get()


def serve(arguments):
    with X509Source(timeout_in_seconds=PATIENCE) as source:
        listener = socket.create_server(("0.0.0.0", arguments.port))
        event("listening", "{}:{}".format(*listener.getsockname()))
        while True:
            stream, _ = listener.accept()
            # A context for each connection: one that was used takes no renewed SVID with this version of pyOpenSSL.
            context = create_ssl_context(SSL.TLS_SERVER_METHOD, source, authorize(arguments.peer_id))
            connection = SSL.Connection(context, stream)
            connection.set_accept_state()
            try:
                answer(connection)
            except SSL.Error as error:
                event("refused", repr(error))
            finally:
                connection.close()


def answer(connection):
    """Reads a line, and writes one that says whom it came from."""
    connection.do_handshake()
    read_line(connection)
    peer = show_peer(connection)
    connection.sendall(f"hello {peer}\n".encode())
    connection.shutdown()


def call(arguments):
    with X509Source(timeout_in_seconds=PATIENCE) as source:
        connection = dial(arguments.addr, source, authorize_fn=authorize(arguments.peer_id))
        show_peer(connection)
        connection.sendall(b"hello\n")
        event("reply", read_line(connection))


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    commands.add_parser("fetch").set_defaults(run=fetch)
    commands.add_parser("watch").set_defaults(run=watch)
    fetch_token = commands.add_parser("token")
    fetch_token.set_defaults(run=token)
    check_token = commands.add_parser("check")
    check_token.add_argument("--token", required=True)
    check_token.set_defaults(run=check)
    for command in (fetch_token, check_token):
        command.add_argument("--audience", required=True)
    server = commands.add_parser("serve")
    server.add_argument("--port", type=int, required=True)
    server.set_defaults(run=serve)
    client = commands.add_parser("dial")
    client.add_argument("--addr", required=True)
    client.set_defaults(run=call)
    for command in (server, client):
        command.add_argument("--peer-id", required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
