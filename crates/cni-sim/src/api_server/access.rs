//! Who may do what: bearer tokens, and RBAC-like answers that a test or a person changes while the server runs.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The user of requests without a known token while tokens are not enforced.
pub const ADMIN: &str = "kubernetes-admin";

/// A user that may send requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:kube-system:cni-metrics-helper`, …
    pub name: String,
    /// The only things this user may do; none means everything.
    pub allowed: Option<Vec<Rule>>,
}

/// A pattern of requests. An empty field or `*` matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// User name (for denials).
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// API group; empty matches every group.
    pub group: String,
    /// `pods`, `pods/proxy`, `leases`, …
    pub resource: String,
    /// Namespace.
    pub namespace: String,
    /// The object's name; with one, nothing that is asked of a whole collection (`list`, `create`) matches.
    pub name: String,
}

impl Rule {
    /// A rule for one verb on one resource, for every user, everywhere.
    pub fn new(verb: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), ..Self::default() }
    }

    fn matches(&self, user: &str, action: &Action<'_>) -> bool {
        let field = |pattern: &str, value: &str| pattern.is_empty() || pattern == "*" || pattern == value;
        field(&self.user, user)
            && field(&self.verb, action.verb)
            && field(&self.group, action.group)
            && field(&self.resource, action.resource)
            && field(&self.namespace, action.namespace)
            && field(&self.name, action.name)
    }
}

/// What a request wants to do, as RBAC sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    /// With the subresource: `pods/proxy`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Action<'_> {
    /// Whether a verb and a resource, each possibly `*`, mean this action.
    pub(crate) fn is(&self, verb: &str, resource: &str) -> bool {
        (verb == "*" || verb == self.verb) && (resource == "*" || resource == self.resource)
    }

    /// The API server's own words for a refusal.
    pub(crate) fn refusal(&self, user: &str) -> String {
        let bare = self.resource.split('/').next().unwrap_or_default();
        let subject = if self.group.is_empty() { bare.to_owned() } else { format!("{bare}.{}", self.group) };
        let subject = if self.name.is_empty() { subject } else { format!("{subject} \"{}\"", self.name) };
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", self.namespace)
        };
        format!(
            "{subject} is forbidden: User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
            self.verb, self.resource, self.group
        )
    }
}

#[derive(Debug, Default)]
struct Tables {
    tokens: BTreeMap<String, User>,
    enforced: bool,
    denials: Vec<Rule>,
}

/// Tokens and rules, shared with the running server.
#[derive(Debug, Default)]
pub struct AccessControl {
    tables: RwLock<Tables>,
}

impl AccessControl {
    /// With `true`, requests without a known token get 401.
    pub fn enforce_tokens(&self, enforced: bool) {
        self.write().enforced = enforced;
    }

    /// Makes a token valid for a user, in place of what it was valid for.
    pub fn add_token(&self, token: &str, user: User) {
        self.write().tokens.insert(token.to_owned(), user);
    }

    /// Makes a token invalid, as an expired service account token is.
    pub fn revoke_token(&self, token: &str) {
        self.write().tokens.remove(token);
    }

    /// Refuses what the rule matches with 403, from the next request on.
    pub fn deny(&self, rule: Rule) {
        self.write().denials.push(rule);
    }

    /// Drops all denials.
    pub fn clear_denials(&self) {
        self.write().denials.clear();
    }

    /// The user behind an `Authorization` header; none means 401.
    pub(crate) fn authenticate(&self, header: Option<&str>) -> Option<User> {
        let tables = self.read();
        let token = header.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("bearer") // The scheme is case-insensitive (RFC 9110, section 11.1).
        });
        let known = token.and_then(|(_, token)| tables.tokens.get(token.trim()));
        match known {
            Some(user) => Some(user.clone()),
            None if tables.enforced => None,
            None => Some(User { name: ADMIN.to_owned(), allowed: None }),
        }
    }

    /// Whether the user may do this.
    pub(crate) fn allows(&self, user: &User, action: &Action<'_>) -> bool {
        let denied = self.read().denials.iter().any(|rule| rule.matches(&user.name, action));
        let allowed = user.allowed.as_ref().is_none_or(|rules| rules.iter().any(|r| r.matches(&user.name, action)));
        allowed && !denied
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action<'a>(verb: &'a str, resource: &'a str) -> Action<'a> {
        Action { verb, group: "", resource, namespace: "kube-system", name: "aws-node-x" }
    }

    fn user(name: &str) -> User {
        User { name: name.to_owned(), allowed: None }
    }

    #[test]
    fn an_unknown_token_is_refused_only_when_tokens_are_enforced() {
        let access = AccessControl::default();
        access.add_token("t1", user("one"));
        assert_eq!(access.authenticate(Some("Bearer wrong")).unwrap().name, ADMIN);
        access.enforce_tokens(true);
        assert_eq!(access.authenticate(Some("Bearer wrong")), None);
        assert_eq!(access.authenticate(None), None);
        assert_eq!(access.authenticate(Some("bearer t1")).unwrap().name, "one");
        access.revoke_token("t1");
        assert_eq!(access.authenticate(Some("Bearer t1")), None);
    }

    #[test]
    fn a_denial_hits_only_what_it_names() {
        let access = AccessControl::default();
        access.deny(Rule { user: "one".to_owned(), ..Rule::new("get", "pods/proxy") });
        assert!(!access.allows(&user("one"), &action("get", "pods/proxy")));
        assert!(access.allows(&user("two"), &action("get", "pods/proxy")));
        assert!(access.allows(&user("one"), &action("get", "pods")));
        access.clear_denials();
        assert!(access.allows(&user("one"), &action("get", "pods/proxy")));
    }

    #[test]
    fn a_user_with_rules_may_do_nothing_else() {
        let access = AccessControl::default();
        let limited = User { name: "sa".to_owned(), allowed: Some(vec![Rule::new("list", "pods")]) };
        assert!(access.allows(&limited, &action("list", "pods")));
        assert!(!access.allows(&limited, &action("watch", "pods")));
        assert!(!access.allows(&limited, &action("list", "nodes")));
    }

    #[test]
    fn a_rule_with_a_name_is_for_that_object_only() {
        let access = AccessControl::default();
        let rule = Rule { name: "mine".to_owned(), ..Rule::new("*", "leases") };
        let limited = User { name: "sa".to_owned(), allowed: Some(vec![rule]) };
        let lease = |verb, name| Action { name, ..action(verb, "leases") };
        assert!(access.allows(&limited, &lease("get", "mine")));
        assert!(!access.allows(&limited, &lease("get", "other")));
        assert!(!access.allows(&limited, &lease("create", "")), "a name does not reach creation, as in RBAC");
    }

    #[test]
    fn refusals_are_worded_as_by_rbac() {
        let proxy = Action { name: "aws-node-x:61678", ..action("get", "pods/proxy") };
        assert_eq!(
            proxy.refusal("system:serviceaccount:kube-system:h"),
            "pods \"aws-node-x:61678\" is forbidden: User \"system:serviceaccount:kube-system:h\" cannot get resource \
             \"pods/proxy\" in API group \"\" in the namespace \"kube-system\""
        );
        let list = Action { verb: "list", group: "apps", resource: "daemonsets", namespace: "", name: "" };
        assert_eq!(
            list.refusal("u"),
            "daemonsets.apps is forbidden: User \"u\" cannot list resource \"daemonsets\" in API group \"apps\" at the \
             cluster scope"
        );
    }
}
