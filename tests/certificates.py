"""A certificate authority of a test's own, with a certificate for localhost and one for a client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NOW = datetime.now(UTC)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOW - timedelta(hours=1))
        .not_valid_after(_NOW + timedelta(hours=1))
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass
class Certificates:
    """Paths of PEM files."""

    ca: Path
    server: Path
    client: Path
    client_key: Path

    @classmethod
    def make(cls, directory: Path) -> Certificates:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
        ca = (
            _builder("Test CA", "Test CA", ca_key)
            .add_extension(constraints, critical=True)
            .add_extension(usage, critical=True)
            .add_extension(identifier, critical=False)
            .sign(ca_key, hashes.SHA256())
        )
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
        made = cls(directory / "ca.pem", directory / "server.pem", directory / "client.pem", directory / "client.key")
        made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        for name, path in (("localhost", made.server), ("agent", made.client)):
            key = ec.generate_private_key(ec.SECP256R1())
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            certificate = (
                _builder(name, "Test CA", key)
                .add_extension(names, critical=False)
                .add_extension(authority, critical=False)
                .sign(ca_key, hashes.SHA256())
            )
            path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
            if name == "agent":
                made.client_key.write_bytes(_key_pem(key))
            else:
                with path.open("ab") as file:
                    file.write(_key_pem(key))
        return made

    def server_context(self) -> ssl.SSLContext:
        """Of a server that wants a client certificate of the same authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server)
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context
