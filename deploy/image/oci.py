#!/usr/bin/env python3
"""Writes an OCI image layout (image-spec 1.1) from built binaries: one layer, an index over architectures, an SBOM.

The same inputs give the same bytes: entries are sorted, owners and times are fixed, gzip contains no time.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

USER = "65532:65532"
CA_PATH = "etc/ssl/certs/ca-certificates.crt"
TRIPLES = {"amd64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}
CREATED = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--output", required=True, type=pathlib.Path)
    parser.add_argument("--ca-bundle", required=True, type=pathlib.Path)
    parser.add_argument("images", nargs="+", metavar="ARCH=BINARY")
    arguments = parser.parse_args()

    layout = Layout(arguments.output)
    manifests = []
    for image in arguments.images:
        arch, _, binary = image.partition("=")
        layer = layer_of(pathlib.Path(binary).read_bytes(), arguments.ca_bundle.read_bytes())
        manifest = layout.image(arch, arguments.version, layer)
        manifest["platform"] = {"architecture": arch, "os": "linux"}
        manifests.append(manifest)
        bom = bill_of_materials(arch, arguments.version, layer)
        (arguments.output.parent / f"{arguments.output.name}.sbom.{arch}.cdx.json").write_bytes(bom)
        layout.referrers.append(layout.attach(manifest, bom))
        print(f"{arch}: layer {len(gzipped(layer)) / 1e6:.1f} MB compressed, {len(layer) / 1e6:.1f} MB unpacked")
    layout.finish(arguments.version, manifests)


class Layout:
    """The folder that is being written."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.referrers = []
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def blob(self, media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / "blobs" / "sha256" / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def json_blob(self, media_type, value):
        return self.blob(media_type, json.dumps(value, sort_keys=True, separators=(",", ":")).encode())

    def image(self, arch, version, layer):
        config = self.json_blob("application/vnd.oci.image.config.v1+json", {
            "architecture": arch,
            "os": "linux",
            "created": moment(),
            "config": {
                "User": USER,
                "WorkingDir": "/app",
                "Entrypoint": ["/app/cni-metrics-helper"],
                "Cmd": ["--cloudwatch=false"],
                "Env": [f"SSL_CERT_FILE=/{CA_PATH}"],
                "ExposedPorts": {"61681/tcp": {}, "61682/tcp": {}},
                "Labels": labels(version),
            },
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
            "history": [{"created": moment(), "created_by": "deploy/image/oci.py"}],
        })
        packed = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzipped(layer))
        return self.json_blob("application/vnd.oci.image.manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [packed],
            "annotations": labels(version),
        })

    def attach(self, subject, bom):
        """The SBOM as a referrer of its image, which registries list under the image's digest."""
        subject = {key: subject[key] for key in ("mediaType", "digest", "size")}
        media_type = "application/vnd.cyclonedx+json"
        manifest = self.json_blob("application/vnd.oci.image.manifest.v1+json", {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": media_type,
            "config": self.blob("application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [self.blob(media_type, bom)],
            "subject": subject,
        })
        return manifest | {"artifactType": media_type}

    def finish(self, version, manifests):
        index = self.json_blob("application/vnd.oci.image.index.v1+json", {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
            "annotations": labels(version),
        })
        index["annotations"] = {"org.opencontainers.image.ref.name": version}
        top = {"schemaVersion": 2, "manifests": [index, *self.referrers]}
        (self.folder / "index.json").write_text(json.dumps(top, sort_keys=True, indent=1) + "\n")


def layer_of(binary, ca_bundle):
    """The root file system: the program, the CA bundle, and the user that runs it."""
    files = {
        "app/cni-metrics-helper": (0o755, binary),
        CA_PATH: (0o644, ca_bundle),
        "etc/group": (0o644, b"helper:x:65532:\n"),
        "etc/passwd": (0o644, b"helper:x:65532:65532::/app:/sbin/nologin\n"),
    }
    folders = sorted({str(parent) for name in files for parent in pathlib.PurePosixPath(name).parents if str(parent) != "."})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in folders:
            tar.addfile(entry(name, tarfile.DIRTYPE, 0o755, 0))
        for name, (mode, content) in sorted(files.items()):
            tar.addfile(entry(name, tarfile.REGTYPE, mode, len(content)), io.BytesIO(content))
    return packed.getvalue()


def entry(name, kind, mode, size):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.mtime = kind, mode, size, CREATED
    return info


def gzipped(content):
    return gzip.compress(content, compresslevel=9, mtime=0)


def bill_of_materials(arch, version, layer):
    """CycloneDX 1.5: the crates that are linked into the program, as Cargo.lock pins them."""
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", TRIPLES[arch]]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = next(id for id, package in packages.items() if package["name"] == "cni-metrics-helper")

    # Cargo's metadata has one set of features for the whole workspace, tests included, so it contains crates that are not
    # part of the program; the tree uses the program's own features.
    built = in_tree(arch)
    tree = {root} | {id for id, package in packages.items() if (package["name"], package["version"]) in built}
    linked, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node in tree and node not in linked:
            linked.add(node)
            waiting.extend(normal_dependencies(nodes[node]))
    crates = sorted(linked - {root}, key=lambda id: (packages[id]["name"], packages[id]["version"]))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": moment(),
            "component": {
                "type": "container",
                "bom-ref": root_reference(version),
                "name": "cni-metrics-helper",
                "version": version,
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(layer).hexdigest()}],
                "properties": [{"name": "architecture", "value": arch}],
            },
        },
        "components": [component(packages[id]) for id in crates],
        "dependencies": [
            {
                "ref": root_reference(version) if id == root else url(packages[id]),
                "dependsOn": sorted({url(packages[other]) for other in normal_dependencies(nodes[id]) if other in linked}),
            }
            for id in [root, *crates]
        ],
    }
    return (json.dumps(bom, indent=1, sort_keys=True) + "\n").encode()


def in_tree(arch):
    """Name and version of every crate of which cargo builds the program for that architecture."""
    command = ["cargo", "tree", "--locked", "--package", "cni-metrics-helper", "--target", TRIPLES[arch]]
    options = ["--edges", "normal", "--prefix", "none", "--format", "{p}"]
    listed = subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout
    words = (line.split() for line in listed.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def normal_dependencies(node):
    """Linked crates: no dependencies of build scripts or tests. Dependencies of procedural macros are used at build time
    only, but are kept, because they determine the code."""
    return [dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]


def component(package):
    part = {
        "type": "library",
        "bom-ref": url(package),
        "name": package["name"],
        "version": package["version"],
        "purl": url(package),
        "scope": "required",
    }
    if package.get("license"):
        part["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return part


def url(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def root_reference(version):
    return f"cni-metrics-helper@{version}"


def labels(version):
    return {
        "org.opencontainers.image.title": "cni-metrics-helper",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
    }


def moment():
    return datetime.datetime.fromtimestamp(CREATED, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main()
