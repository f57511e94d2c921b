"""A private certificate authority with a server's and a client's certificate, made for one test run."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class TlsFiles:
    """PEM files; the server's certificate is for 127.0.0.1 and localhost."""

    authority: Path
    server_certificate: Path
    server_key: Path
    client_certificate: Path
    client_key: Path

    def client_context(self) -> ssl.SSLContext:
        """Trusts the authority and presents the client's certificate."""
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(str(self.client_certificate), str(self.client_key))
        return context


def make_tls_files(directory: Path) -> TlsFiles:
    """Make all of them in ``directory``."""
    files = TlsFiles(*(directory / f"{name}.pem" for name in ("ca", "server", "server-key", "client", "client-key")))
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("parsegate test authority", authority_key, None, authority_key)
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name, certificate_path, key_path in (
        ("gateway", files.server_certificate, files.server_key),
        ("dag-processor", files.client_certificate, files.client_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, authority, authority_key)
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_path.chmod(0o600)
    return files


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),  # pyright: ignore
            critical=False,
        )
    )
    return builder.sign(issuer_key, hashes.SHA256())
