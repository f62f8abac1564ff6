//! Kubeconfig files that lead to the simulated API server.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api_server::ApiServer;

/// The context that uses HTTP.
pub const HTTP_CONTEXT: &str = "cni-sim-http";
/// The context that uses HTTPS.
pub const HTTPS_CONTEXT: &str = "cni-sim-https";

/// A kubeconfig for a running server, with one context for each way in. The current one is HTTPS if `prefer_https` and
/// the server has it. With a `token` requests carry it; without, they are anonymous.
pub fn render(server: &ApiServer, token: Option<&str>, prefer_https: bool) -> String {
    let mut clusters = String::new();
    let mut contexts = String::new();
    let mut current = "";
    let mut add = |context: &'static str, scheme: &str, address: Option<SocketAddr>, ca: Option<&str>| {
        let Some(address) = address else { return };
        let authority = ca.map(|pem| format!("    certificate-authority-data: {}\n", STANDARD.encode(pem)));
        // Writing into a String cannot fail.
        let _ = write!(
            clusters,
            "- name: {context}\n  cluster:\n    server: {scheme}://{address}\n{}",
            authority.unwrap_or_default()
        );
        let _ = write!(contexts, "- name: {context}\n  context:\n    cluster: {context}\n    user: cni-sim\n");
        if current.is_empty() || (scheme == "https") == prefer_https {
            current = context;
        }
    };
    add(HTTP_CONTEXT, "http", server.http_address(), None);
    add(HTTPS_CONTEXT, "https", server.https_address(), server.ca_pem());
    // A JSON string is a YAML string, whatever is in it.
    let user = token.map_or_else(|| "{}".to_owned(), |token| format!("{{token: {}}}", serde_json::Value::from(token)));
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {current}\nclusters:\n{clusters}contexts:\n{contexts}users:\n\
         - name: cni-sim\n  user: {user}\n"
    )
}

/// Writes [`render`]'s text to a file that only its owner can read, since it may hold a token.
pub fn write(path: &Path, server: &ApiServer, token: Option<&str>, prefer_https: bool) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(render(server, token, prefer_https).as_bytes())
}
