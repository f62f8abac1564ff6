//! The commands of `iam-policy --commands`, run against programs that keep what they are told and refuse, as AWS and
//! Kubernetes do, to create what is there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::generate_output::generate;

/// `aws`: each object is a file. Creating one that exists fails, as reading one that does not.
const AWS: &str = r#"#!/usr/bin/env bash
set -eu
echo "aws $1 $2" >>"$STATE/log"
there() { [ -e "$STATE/$1" ] || { echo "An error occurred (NoSuchEntity)" >&2; exit 254; }; }
create() {
  [ ! -e "$STATE/$1" ] || { echo "An error occurred (EntityAlreadyExists) when calling $2" >&2; exit 254; }
  : >"$STATE/$1"
}
case "$1 $2" in
  "sts get-caller-identity") echo 111122223333 ;;
  "iam get-policy") there policy ;;
  "iam create-policy") create policy CreatePolicy; echo 1 >"$STATE/versions" ;;
  "iam list-policy-versions") there policy; tail -n +2 <(tac "$STATE/versions") | sed 's/^/v/' | paste -s ;;
  "iam create-policy-version")
    there policy
    [ "$(wc -l <"$STATE/versions")" -lt 5 ] || { echo "An error occurred (LimitExceeded)" >&2; exit 254; }
    echo $(($(tail -1 "$STATE/versions") + 1)) >>"$STATE/versions" ;;
  "iam delete-policy-version") sed -i "/^${6#v}\$/d" "$STATE/versions" ;;
  "iam get-role") there role ;;
  "iam create-role") create role CreateRole ;;
  "iam update-assume-role-policy" | "iam attach-role-policy") there role ;;
  "iam get-open-id-connect-provider") there provider ;;
  "iam create-open-id-connect-provider") create provider CreateOpenIDConnectProvider ;;
  "eks describe-cluster") echo https://oidc.example.com/id/X ;;
  "eks describe-addon") there addon ;;
  "eks create-addon") create addon CreateAddon ;;
  "eks list-pod-identity-associations") [ ! -e "$STATE/association" ] || echo a-1 ;;
  "eks create-pod-identity-association") create association CreatePodIdentityAssociation ;;
  "eks update-pod-identity-association") there association ;;
  *) echo "unknown: $*" >&2; exit 252 ;;
esac
"#;

/// `kubectl`: the helper is what `$HELPER` says, if it is installed.
const KUBECTL: &str = r#"#!/usr/bin/env bash
set -eu
echo "kubectl $*" >>"$STATE/log"
case "$*" in
  *" get deployment,statefulset "*) [ -z "$HELPER" ] || echo "$HELPER" ;;
  *" rollout restart "*) [ "${*: -1}" = "$HELPER" ] || { echo "Error from server (NotFound)" >&2; exit 1; } ;;
  *" annotate serviceaccount "*) ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"#;

fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a script where these programs are the only ones of their names, and what they keep is kept.
fn run(script: &str, folder: &Path, helper: &str) -> Output {
    let helpers = Path::new(env!("CARGO_BIN_EXE_cni-metrics-helper")).parent().unwrap();
    let path = format!("{}:{}:/usr/local/bin:/usr/bin:/bin", folder.display(), helpers.display());
    std::fs::write(folder.join("script.sh"), script).unwrap();
    Command::new("bash")
        .arg(folder.join("script.sh"))
        .env_clear()
        .envs([("PATH", path.as_str()), ("STATE", folder.to_str().unwrap()), ("HELPER", helper)])
        .output()
        .unwrap()
}

#[test]
fn the_commands_can_be_run_again_and_again_with_and_without_shards() {
    for trust in ["pod-identity", "irsa"] {
        let script = generate(&format!("iam-policy --commands --trust {trust} --cluster-id orders --region eu-west-1"));
        let folder = cni_testkit::temporary_folder();
        program(folder.path(), "aws", AWS);
        program(folder.path(), "kubectl", KUBECTL);
        // Before the helper is there, and then often enough for IAM's limit of versions.
        let helpers = ["", "deployment.apps/cni-metrics-helper", "statefulset.apps/cni-metrics-helper"];
        for helper in helpers.into_iter().chain([helpers[1]; 5]) {
            let output = run(&script, folder.path(), helper);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{trust} {helper:?}: {said}\n{script}");
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("rollout restart deployment.apps/"), 6, "{log}");
        assert_eq!(count("rollout restart statefulset.apps/"), 1, "{log}");
        assert_eq!((count("iam create-role"), count("iam update-assume-role-policy")), (1, 7), "{log}");
        assert_eq!((count("create-policy-version"), count("delete-policy-version")), (7, 3), "{log}");
        let versions = std::fs::read_to_string(folder.path().join("versions")).unwrap();
        assert_eq!(versions.lines().collect::<Vec<_>>(), ["4", "5", "6", "7", "8"]);
    }
}
