//! The names of a crate's types: one meaning each.

use std::collections::BTreeMap;
use std::path::Path;

use syn::visit::Visit;

/// Struct, enum, trait and union names that stand in two or more places of a crate, each with its files. Types inside
/// functions and test modules do not count.
pub(crate) fn doubled(sources: &[(std::path::PathBuf, String)], root: &Path) -> BTreeMap<String, Vec<String>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources {
        if path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
            continue;
        }
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut types = Types::default();
        types.visit_file(&file);
        for name in types.0 {
            names.entry(name).or_default().push(path.strip_prefix(root).unwrap_or(path).display().to_string());
        }
    }
    names.retain(|_, files| files.len() > 1);
    names
}

#[derive(Default)]
struct Types(Vec<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !super::modules::is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.0.push(item.ident.to_string());
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.0.push(item.ident.to_string());
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.0.push(item.ident.to_string());
    }

    fn visit_item_union(&mut self, item: &'ast syn::ItemUnion) {
        self.0.push(item.ident.to_string());
    }

    fn visit_item_fn(&mut self, _item: &'ast syn::ItemFn) {}

    fn visit_item_impl(&mut self, _item: &'ast syn::ItemImpl) {}
}

#[test]
fn a_name_of_two_types_is_found_and_tests_may_use_it_again() {
    let file = |name: &str, text: &str| (Path::new(name).to_owned(), text.to_owned());
    let sources = [
        file("a.rs", "pub struct Kind; mod inner { enum Page {} }"),
        file("b.rs", "fn f() { struct Kind; } #[cfg(test)] mod tests { struct Kind; }"),
        file("c/tests.rs", "struct Page;"),
    ];
    assert!(doubled(&sources, Path::new("")).is_empty());
    let again = [sources.to_vec(), vec![file("d.rs", "trait Page {}")]].concat();
    assert_eq!(
        doubled(&again, Path::new("")),
        BTreeMap::from([("Page".to_owned(), vec!["a.rs".to_owned(), "d.rs".to_owned()])])
    );
}
