//! Which file of a crate uses which, and the circles among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::Visit;

/// A module with a file of its own, by its path from the crate's root; the root is empty.
type Module = Vec<String>;

/// The circles of files in one program or library, each as its modules' paths in order. A file uses another if it names a
/// path that leads into it, a `use` or any other, outside test code. A parent that names an item of its child uses it, too.
pub(crate) fn circles(root: &Path) -> Vec<Vec<String>> {
    let mut files = BTreeMap::new();
    read(root, root.parent().unwrap(), Vec::new(), &mut files);
    let known: BTreeSet<Module> = files.keys().cloned().collect();
    let uses: BTreeMap<&Module, BTreeSet<Module>> = files
        .iter()
        .map(|(module, file)| {
            let mut uses = Uses { known: &known, module, inline: Vec::new(), found: BTreeSet::new() };
            uses.visit_file(file);
            uses.found.remove(module);
            (module, uses.found)
        })
        .collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        uses.keys().map(|module| (*module, reached(module, &uses))).collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, others) in &reached {
        let circle: Vec<String> =
            others.iter().filter(|other| reached[*other].contains(module)).map(|other| name(other)).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

/// Everything that a module uses, directly or not.
fn reached<'a>(from: &'a Module, uses: &'a BTreeMap<&'a Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        next.extend(uses[module].iter().filter(|used| seen.insert(*used)));
    }
    seen
}

/// Reads a file and the files of its modules, test modules left out. `folder` is where its children are.
fn read(file: &Path, folder: &Path, module: Module, files: &mut BTreeMap<Module, syn::File>) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for item in &parsed.items {
        let syn::Item::Mod(declared) = item else { continue };
        if declared.content.is_some() || is_test(&declared.attrs) {
            continue;
        }
        let child = declared.ident.to_string();
        let path = folder.join(format!("{child}.rs"));
        let below = folder.join(&child);
        read(&path, &below, [module.clone(), vec![child]].concat(), files);
    }
    files.insert(module, parsed);
}

pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        attribute.path().is_ident("test")
            || is_cfg && attribute.parse_args::<syn::Path>().is_ok_and(|what| what.is_ident("test"))
    })
}

struct Uses<'a> {
    known: &'a BTreeSet<Module>,
    module: &'a Module,
    /// The modules without a file within this one in which the visitor is.
    inline: Vec<String>,
    found: BTreeSet<Module>,
}

impl Uses<'_> {
    fn note(&mut self, path: &[String]) {
        let here = || [self.module.clone(), self.inline.clone()].concat();
        let Some(first) = path.first() else { return };
        let mut base = match first.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => here(),
            // A child of this file; anything else is a name of another crate or one that a `use` has brought.
            child => {
                let child = [here(), vec![child.to_owned()]].concat();
                if !self.known.contains(&child) || path.len() < 2 {
                    return;
                }
                here()
            }
        };
        for segment in path {
            match segment.as_str() {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                other => base.push(other.to_owned()),
            }
        }
        while !self.known.contains(&base) {
            base.pop();
        }
        self.found.insert(base);
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| [before.to_vec(), vec![ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.inline.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.inline.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&segments);
        syn::visit::visit_path(self, path);
    }

    /// `pub(super)` uses nothing.
    fn visit_visibility(&mut self, _visibility: &'ast syn::Visibility) {}
}

#[test]
fn a_circle_is_found_and_what_only_tests_use_makes_none() {
    let folder = cni_testkit::temporary_folder();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a; mod b; mod c; pub use a::A;");
    write("a.rs", "mod inner; use crate::b::B; pub struct A(inner::Inner);");
    write("a/inner.rs", "pub struct Inner; #[cfg(test)] mod tests { use crate::c::C; use super::super::A; }");
    write("b.rs", "pub enum B { X(Vec<super::c::C>) }");
    write("c.rs", "pub struct C; #[cfg(test)] use crate::b::B; pub(super) fn f() {}");
    assert!(circles(&folder.path().join("lib.rs")).is_empty());
    write("c.rs", "mod deep { fn f() -> super::super::a::A { todo!() } }");
    assert_eq!(circles(&folder.path().join("lib.rs")), [["a", "b", "c"]]);
    write("c.rs", "");
    write("a/inner.rs", "impl super::Shape for u8 {}");
    assert_eq!(circles(&folder.path().join("lib.rs")), [["a", "a::inner"]]);
}
