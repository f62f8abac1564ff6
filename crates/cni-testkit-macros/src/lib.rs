//! The attributes of `cni-testkit`: `#[test]` and `#[child_program]` register a function by its module and name.
//!
//! They read tokens and need no parser: a test is compiled often, and `syn` costs more than all of this.

use proc_macro::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};

/// A test. `async` functions get a runtime of tokio, as `#[tokio::test]` gives them.
///
/// - `#[ignore = "reason"]` beside it: the test runs with `--ignored` or `--include-ignored` only, and the reason is counted.
/// - `#[test(own_process)]`: it runs as a child of the test program, because it changes or measures the whole process.
/// - `#[test(serial = "name")]`: it never runs at the same time as another test with this name.
/// - `#[test(start_paused = true)]`, `#[test(flavor = "multi_thread")]`, `#[test(worker_threads = 2)]`: settings of the
///   runtime of an `async` test.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(item, |function| {
        let settings = Settings::read(arguments)?;
        let ignored = function.ignored.as_ref().map_or_else(|| NONE.to_owned(), |reason| some(reason));
        let serial = settings.serial.as_ref().map_or_else(|| NONE.to_owned(), |name| some(name));
        let Settings { own_process, runtime, .. } = settings;
        if !runtime.is_empty() && !function.is_async {
            return Err("only an `async` test has a runtime".to_owned());
        }
        let name = &function.name;
        let registered = format!(
            "::cni_testkit::harness::submit! {{ ::cni_testkit::harness::Test {{
                name: ::core::concat!(::core::module_path!(), \"::\", ::core::stringify!({name})),
                ignored: {ignored}, own_process: {own_process}, serial: {serial},
                run: || ::cni_testkit::harness::Verdict::verdict({name}()),
            }} }}"
        );
        Ok((
            format!("::cni_testkit::harness::Runtime {{ {runtime} ..::cni_testkit::harness::Runtime::DEFAULT }}"),
            registered,
        ))
    })
}

/// A program that tests start as a child of theirs, with `cni_testkit::child_program`. It is no test.
#[proc_macro_attribute]
pub fn child_program(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(item, |function| {
        let name = &function.name;
        let registered = format!(
            "::cni_testkit::harness::submit! {{ ::cni_testkit::harness::ChildProgram {{
                name: ::core::concat!(::core::module_path!(), \"::\", ::core::stringify!({name})), run: {name},
            }} }}"
        );
        Ok(("::cni_testkit::harness::Runtime::DEFAULT".to_owned(), registered))
    })
}

const NONE: &str = "::core::option::Option::None";

fn some(value: &str) -> String {
    format!("::core::option::Option::Some({value})")
}

/// The function, and what registers it: `registration` gives the runtime's settings and the registration.
fn expanded(
    item: TokenStream,
    registration: impl FnOnce(&Function) -> Result<(String, String), String>,
) -> TokenStream {
    let made = Function::read(item).and_then(|function| {
        let (runtime, registered) = registration(&function)?;
        let registered: TokenStream = registered.parse().map_err(|error| format!("{error}"))?;
        let mut all = function.tokens(&runtime)?;
        all.extend(registered);
        Ok(all)
    });
    made.unwrap_or_else(|problem| format!("::core::compile_error!({problem:?});").parse().unwrap_or_default())
}

/// A function's parts.
struct Function {
    /// Attributes, visibility, `fn`, name, arguments and result.
    head: Vec<TokenTree>,
    body: TokenTree,
    name: Ident,
    is_async: bool,
    /// The reason of `#[ignore = "reason"]`, as written.
    ignored: Option<String>,
}

impl Function {
    fn read(item: TokenStream) -> Result<Self, String> {
        let mut tokens = flat(item);
        let Some(body) = tokens.pop() else { return Err("there is no function".to_owned()) };
        let (mut head, mut ignored, mut is_async, mut name) = (Vec::new(), None, false, None);
        let mut rest = tokens.into_iter().peekable();
        while let Some(token) = rest.next() {
            match (&token, rest.peek()) {
                (TokenTree::Punct(mark), Some(TokenTree::Group(attribute))) if mark.as_char() == '#' => {
                    let words = flat(attribute.stream());
                    match words.first().map(ToString::to_string).as_deref() {
                        Some("ignore") => {
                            let reason = words.get(2).map(ToString::to_string);
                            ignored = Some(reason.ok_or("write #[ignore = \"reason\"]: the reason is reported")?);
                            rest.next();
                            continue;
                        }
                        Some("should_panic") => return Err("#[should_panic] is not supported".to_owned()),
                        _ => {}
                    }
                }
                (TokenTree::Ident(word), _) if name.is_none() && word.to_string() == "async" => {
                    is_async = true;
                    continue;
                }
                (TokenTree::Ident(word), Some(TokenTree::Ident(next))) if word.to_string() == "fn" => {
                    name = Some(next.clone());
                }
                _ => {}
            }
            head.push(token);
        }
        let name = name.ok_or("this is not a function")?;
        Ok(Self { head, body, name, is_async, ignored })
    }

    fn tokens(self, runtime: &str) -> Result<TokenStream, String> {
        let mut all: TokenStream = self.head.into_iter().collect();
        if !self.is_async {
            all.extend([self.body]);
            return Ok(all);
        }
        let call: TokenStream = format!("::cni_testkit::harness::block_on({runtime}, async move)")
            .parse()
            .map_err(|error| format!("{error}"))?;
        let mut call: Vec<TokenTree> = call.into_iter().collect();
        let Some(TokenTree::Group(arguments)) = call.pop() else { return Err("no call".to_owned()) };
        let mut inside = arguments.stream();
        inside.extend([self.body]);
        call.push(TokenTree::Group(Group::new(Delimiter::Parenthesis, inside)));
        let mut block = Group::new(Delimiter::Brace, call.into_iter().collect());
        block.set_span(Span::call_site());
        all.extend([TokenTree::Group(block)]);
        Ok(all)
    }
}

/// Tokens without the invisible groups in which `macro_rules!` puts what it was given.
fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let mut all = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => all.extend(flat(group.stream())),
            other => all.push(other),
        }
    }
    all
}

/// The attribute's arguments.
#[derive(Default)]
struct Settings {
    own_process: bool,
    serial: Option<String>,
    /// Fields of `Runtime`.
    runtime: String,
}

impl Settings {
    fn read(arguments: TokenStream) -> Result<Self, String> {
        let mut settings = Self::default();
        let words = flat(arguments);
        for argument in words.split(|word| matches!(word, TokenTree::Punct(mark) if mark.as_char() == ',')) {
            let text: Vec<String> = argument.iter().map(ToString::to_string).collect();
            match text.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => {}
                ["own_process"] => settings.own_process = true,
                ["serial", "=", name] => settings.serial = Some(name.to_owned()),
                ["flavor", "=", "\"multi_thread\""] => settings.runtime += "multi_thread: true,",
                ["worker_threads", "=", number] => {
                    settings.runtime += &["worker_threads: ", &some(number), ","].concat();
                }
                ["start_paused", "=", paused] => settings.runtime += &["start_paused: ", paused, ","].concat(),
                _ => {
                    return Err(format!(
                        "#[test({})] is unknown; known are own_process, serial = \"name\", flavor = \"multi_thread\", \
                         worker_threads = 2 and start_paused = true",
                        text.concat()
                    ));
                }
            }
        }
        Ok(settings)
    }
}
