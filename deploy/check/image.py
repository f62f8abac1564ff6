#!/usr/bin/env python3
"""Checks the image that deploy/image/oci.py writes: the OCI layout blob by blob, and the bill of materials against
CycloneDX's schema, SPDX's licence names and cargo's own list.

    deploy/check/image.py             a layout with small placeholders for the binaries, created twice and compared
    deploy/check/image.py LAYOUT      a layout that deploy/image/build.sh has created, and its size
"""

import gzip
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRIPLES = {"amd64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}
OCI = "application/vnd.oci.image."
BOM = "application/vnd.cyclonedx+json"
MOST_COMPRESSED_BYTES = 15_000_000
FAULTS = []


def check(what, faults):
    print(f"{'ok  ' if not faults else 'FAIL'} {what}")
    FAULTS.extend(f"{what}: {fault}" for fault in faults)


def expect(what, found, wanted):
    check(what, [] if found == wanted else [f"{found!r}, not {wanted!r}"])


class Layout:
    """A layout on disk; every blob must match its descriptor."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = set()

    def blob(self, descriptor):
        algorithm, _, digest = descriptor["digest"].partition(":")
        self.seen.add(digest)
        content = (self.folder / "blobs" / algorithm / digest).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest or len(content) != descriptor["size"]:
            FAULTS.append(f"blob {digest}: digest or size is not its descriptor's")
        return content

    def json(self, descriptor):
        value = json.loads(self.blob(descriptor))
        if value.get("mediaType", descriptor["mediaType"]) != descriptor["mediaType"]:
            FAULTS.append(f"blob {descriptor['digest']}: of another media type than its descriptor")
        return value


def check_layout(folder):
    """Its images: architecture to bill of materials."""
    layout = Layout(folder)
    expect("oci-layout", json.loads((folder / "oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
    top = json.loads((folder / "index.json").read_text())
    expect("schema version", top["schemaVersion"], 2)
    image_index, *referrers = top["manifests"]
    expect("the image is an index", image_index["mediaType"], f"{OCI}index.v1+json")
    tag = image_index["annotations"]["org.opencontainers.image.ref.name"]

    images = {}
    for descriptor in layout.json(image_index)["manifests"]:
        arch = check_image(layout, descriptor, tag)
        images[descriptor["digest"]] = arch
    boms = {}
    for descriptor in referrers:
        manifest = layout.json(descriptor)
        expect("referrer's type", (descriptor["artifactType"], manifest["artifactType"]), (BOM, BOM))
        expect("referrer's config", layout.blob(manifest["config"]), b"{}")
        (layer,) = manifest["layers"]
        boms[images[manifest["subject"]["digest"]]] = layout.blob(layer)
    expect("each image has its bill of materials", sorted(boms), sorted(images.values()))
    for arch, bom in boms.items():
        expect(f"{arch}: the same beside the layout", (folder.parent / f"{folder.name}.sbom.{arch}.cdx.json").read_bytes(), bom)
    stored = {path.name for path in (folder / "blobs" / "sha256").iterdir()}
    expect("no blob that nothing refers to", stored - layout.seen, set())
    return boms


def check_image(layout, descriptor, tag):
    expect("manifest's type", descriptor["mediaType"], f"{OCI}manifest.v1+json")
    arch = descriptor["platform"]["architecture"]
    manifest = layout.json(descriptor)
    config = layout.json(manifest["config"])
    expect(f"{arch}: platform", (config["architecture"], config["os"], descriptor["platform"]["os"]), (arch, "linux", "linux"))
    runs = config["config"]
    expect(f"{arch}: user", runs["User"], "65532:65532")
    expect(f"{arch}: version", runs["Labels"]["org.opencontainers.image.version"], tag)
    (layer,) = manifest["layers"]
    expect(f"{arch}: layer's type", layer["mediaType"], f"{OCI}layer.v1.tar+gzip")
    packed = layout.blob(layer)
    check(f"{arch}: {len(packed) / 1e6:.1f} MB compressed", ["too large"] if len(packed) > MOST_COMPRESSED_BYTES else [])
    unpacked = gzip.decompress(packed)
    expect(f"{arch}: diff id", config["rootfs"]["diff_ids"], ["sha256:" + hashlib.sha256(unpacked).hexdigest()])
    check_files(arch, unpacked, runs)
    return arch


def check_files(arch, unpacked, runs):
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as tar:
        members = {member.name: member for member in tar}
        users = tar.extractfile("etc/passwd").read().decode()
    program = members[runs["Entrypoint"][0].lstrip("/")]
    expect(f"{arch}: the program may be run by all", (program.isreg(), program.mode), (True, 0o755))
    bundle = dict(pair.split("=", 1) for pair in runs["Env"])["SSL_CERT_FILE"]
    expect(f"{arch}: the CA bundle may be read by all", members[bundle.lstrip("/")].mode, 0o644)
    expect(f"{arch}: the user has a name", users.split(":")[2:4], runs["User"].split(":"))
    owners = {(member.uid, member.gid, member.uname, member.gname) for member in members.values()}
    expect(f"{arch}: all is root's", owners, {(0, 0, "", "")})
    expect(f"{arch}: one time", len({member.mtime for member in members.values()}), 1)


def check_bom(arch, text):
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    fault = validator.validate_str(text.decode())
    check(f"{arch}: CycloneDX 1.5", [str(fault)] if fault else [])
    bom = json.loads(text)
    spdx = get_spdx_licensing()
    bad = [
        f"{part['name']}: {licence['expression']}: {found.errors}"
        for part in bom["components"]
        for licence in part.get("licenses", [])
        if (found := spdx.validate(licence["expression"])).errors
    ]
    check(f"{arch}: licences are SPDX's", bad)

    references = {part["bom-ref"] for part in bom["components"]} | {bom["metadata"]["component"]["bom-ref"]}
    named = {line["ref"] for line in bom["dependencies"]} | {to for line in bom["dependencies"] for to in line["dependsOn"]}
    expect(f"{arch}: dependencies are among the components", named, references)
    found = {f"{part['name']} {part['version']}" for part in bom["components"]}
    # Dependencies of procedural macros run on the build machine: they may be listed, but only those that are the same on
    # every machine.
    missing, foreign = tree(arch, "normal,no-proc-macro") - found, found - tree(arch, "normal")
    check(f"{arch}: {len(found)} crates, all that cargo links", [f"not listed: {sorted(missing)}"] if missing else [])
    check(f"{arch}: and none that it does not use", [f"listed: {sorted(foreign)}"] if foreign else [])


def tree(arch, edges):
    """The crates that cargo says the program is built of."""
    command = ["cargo", "tree", "--locked", "--package", "cni-metrics-helper", "--target", TRIPLES[arch], "--edges", edges]
    options = ["--prefix", "none", "--format", "{p}"]
    listed = subprocess.run([*command, *options], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    crates = {" ".join(line.split()[:2]).replace(" v", " ") for line in listed.splitlines() if line}
    return {crate for crate in crates if not crate.startswith("cni-metrics-helper ")}


def make(folder):
    """A layout of both architectures, with placeholders for the binaries, which take minutes to compile."""
    folder.mkdir()
    for arch in TRIPLES:
        (folder / arch).write_bytes(b"\x7fELF " + arch.encode() * 1000)
    (folder / "ca.crt").write_text("stands for a CA bundle\n")
    command = [sys.executable, "deploy/image/oci.py", "--version", "v0.0.0", "--output", folder / "out", "--ca-bundle", folder / "ca.crt"]
    images = [f"{arch}={folder / arch}" for arch in TRIPLES]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([*command, *images], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return folder / "out"


def files_beside(folder):
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder.parent)): path.read_bytes() for path in files}


def stand_in():
    with tempfile.TemporaryDirectory() as name:
        first, second = (make(pathlib.Path(name) / number) for number in ("first", "second"))
        boms = check_layout(first)
        expect("both architectures", sorted(boms), sorted(TRIPLES))
        for arch, bom in boms.items():
            check_bom(arch, bom)
        check("made twice, the same bytes", [] if files_beside(first) == files_beside(second) else ["they differ"])
        broken = boms["amd64"].replace(b'"type": "library"', b'"type": "book"', 1).decode()
        found = JsonStrictValidator(SchemaVersion.V1_5).validate_str(broken)
        check("the schema finds an unknown type", [] if found else ["it does not"])


def main():
    if len(sys.argv) > 1:
        for arch, bom in check_layout(pathlib.Path(sys.argv[1]).resolve()).items():
            check_bom(arch, bom)
    else:
        stand_in()
    for fault in FAULTS:
        print(fault, file=sys.stderr)
    sys.exit(1 if FAULTS else 0)


main()
