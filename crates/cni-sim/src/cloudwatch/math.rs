//! The part of CloudWatch's metric math that dashboards and alarms of counters need: `+ - * /`, parentheses, arrays,
//! `METRICS()`, and the functions SUM, AVG, MIN, MAX, ABS, CEIL, FLOOR and FILL.

use std::collections::BTreeMap;

/// Time (Unix milliseconds) to value.
pub(super) type Points = BTreeMap<i64, f64>;

/// What an expression or a part of it is worth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Scalar(f64),
    Series(Points),
    Array(Vec<Points>),
}

/// Looks an id up; `None` asks for all metrics.
pub(super) type Lookup<'a> = dyn Fn(Option<&str>) -> Result<Value, String> + 'a;

/// Brackets beyond this depth are refused, so that no expression can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// The value of `text`.
pub(super) fn evaluate(text: &str, lookup: &Lookup<'_>) -> Result<Value, String> {
    let mut parser = Parser { rest: text, lookup, depth: 0 };
    let value = parser.sum()?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(value) } else { Err(format!("Error in expression: unexpected '{}'", parser.rest)) }
}

struct Parser<'a> {
    rest: &'a str,
    lookup: &'a Lookup<'a>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("Error in expression: nested too deeply".to_owned());
        }
        let mut left = self.product()?;
        loop {
            if self.eat('+') {
                left = combine(left, self.product()?, |a, b| a + b)?;
            } else if self.eat('-') {
                left = combine(left, self.product()?, |a, b| a - b)?;
            } else {
                self.depth -= 1;
                return Ok(left);
            }
        }
    }

    fn product(&mut self) -> Result<Value, String> {
        let mut left = self.factor()?;
        loop {
            if self.eat('*') {
                left = combine(left, self.factor()?, |a, b| a * b)?;
            } else if self.eat('/') {
                left = combine(left, self.factor()?, |a, b| a / b)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn factor(&mut self) -> Result<Value, String> {
        if self.eat('(') {
            let value = self.sum()?;
            return self.expect(')').map(|()| value);
        }
        if self.eat('-') {
            let value = self.in_depth(Self::factor)?;
            return combine(Value::Scalar(-1.0), value, |a, b| a * b);
        }
        if self.eat('[') {
            let items = self.list(']')?;
            return Ok(Value::Array(items.into_iter().map(series_of).collect::<Result<Vec<_>, _>>()?.concat()));
        }
        let number = self.take(|c| c.is_ascii_digit() || c == '.');
        if !number.is_empty() {
            return number.parse().map(Value::Scalar).map_err(|_| format!("Error in expression: bad number {number}"));
        }
        let name = self.take(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() {
            return Err(format!("Error in expression: a value is missing before '{}'", self.rest));
        }
        if self.eat('(') {
            let arguments = self.list(')')?;
            return call(name, arguments, self.lookup);
        }
        (self.lookup)(Some(name))
    }

    fn in_depth(&mut self, parse: impl Fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("Error in expression: nested too deeply".to_owned());
        }
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self, close: char) -> Result<Vec<Value>, String> {
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(self.sum()?);
            if self.eat(close) {
                return Ok(items);
            }
            self.expect(',')?;
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, wanted: char) -> bool {
        self.skip_space();
        let after = self.rest.strip_prefix(wanted);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.eat(wanted) { Ok(()) } else { Err(format!("Error in expression: '{wanted}' is missing")) }
    }

    fn take(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        self.skip_space();
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn call(name: &str, arguments: Vec<Value>, lookup: &Lookup<'_>) -> Result<Value, String> {
    let mut arguments = arguments.into_iter();
    let (first, second) = (arguments.next(), arguments.next());
    match (name, first, second) {
        ("METRICS", None, None) => lookup(None),
        ("SUM", Some(value), None) => Ok(reduce(value, |all| all.iter().sum())),
        ("AVG", Some(value), None) => Ok(reduce(value, |all| all.iter().sum::<f64>() / all.len() as f64)),
        ("MIN", Some(value), None) => Ok(reduce(value, |all| all.iter().copied().fold(f64::INFINITY, f64::min))),
        ("MAX", Some(value), None) => Ok(reduce(value, |all| all.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
        ("ABS", Some(value), None) => combine(value, Value::Scalar(0.0), |a, _| a.abs()),
        ("CEIL", Some(value), None) => combine(value, Value::Scalar(0.0), |a, _| a.ceil()),
        ("FLOOR", Some(value), None) => combine(value, Value::Scalar(0.0), |a, _| a.floor()),
        ("FILL", Some(value), Some(Value::Scalar(filler))) => fill(value, filler, lookup),
        _ => Err(format!("Unsupported function or wrong arguments: {name}")),
    }
}

/// Over an array: one series, each point over all members. Over one series: one number.
fn reduce(value: Value, fold: impl Fn(&[f64]) -> f64) -> Value {
    match value {
        Value::Scalar(number) => Value::Scalar(number),
        Value::Series(points) => Value::Scalar(fold(&points.into_values().collect::<Vec<_>>())),
        Value::Array(all) => {
            let mut columns: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
            for (at, value) in all.into_iter().flatten() {
                columns.entry(at).or_default().push(value);
            }
            Value::Series(columns.into_iter().map(|(at, column)| (at, fold(&column))).collect())
        }
    }
}

/// Gives a series a point wherever any metric of the request has one.
fn fill(value: Value, filler: f64, lookup: &Lookup<'_>) -> Result<Value, String> {
    let times: Vec<i64> = series_of(lookup(None)?)?.into_iter().flat_map(Points::into_keys).collect();
    let filled = series_of(value)?.into_iter().map(|mut points| {
        for at in &times {
            points.entry(*at).or_insert(filler);
        }
        points
    });
    let mut all: Vec<Points> = filled.collect();
    Ok(if all.len() == 1 { Value::Series(all.remove(0)) } else { Value::Array(all) })
}

/// Point by point, at the times at which both series have a point; a result that is not a number is left out.
fn combine(left: Value, right: Value, op: fn(f64, f64) -> f64) -> Result<Value, String> {
    let join = |a: &Points, b: &Points| -> Points {
        a.iter().filter_map(|(at, x)| Some((*at, op(*x, *b.get(at)?)))).filter(|(_, v)| v.is_finite()).collect()
    };
    let map = |a: &Points, f: &dyn Fn(f64) -> f64| -> Points {
        a.iter().map(|(at, x)| (*at, f(*x))).filter(|(_, v)| v.is_finite()).collect()
    };
    Ok(match (left, right) {
        (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(op(a, b)),
        (Value::Series(a), Value::Scalar(b)) => Value::Series(map(&a, &|x| op(x, b))),
        (Value::Scalar(a), Value::Series(b)) => Value::Series(map(&b, &|x| op(a, x))),
        (Value::Series(a), Value::Series(b)) => Value::Series(join(&a, &b)),
        (Value::Array(all), Value::Scalar(b)) => Value::Array(all.iter().map(|a| map(a, &|x| op(x, b))).collect()),
        (Value::Scalar(a), Value::Array(all)) => Value::Array(all.iter().map(|b| map(b, &|x| op(a, x))).collect()),
        (Value::Array(all), Value::Series(b)) => Value::Array(all.iter().map(|a| join(a, &b)).collect()),
        (Value::Series(a), Value::Array(all)) => Value::Array(all.iter().map(|b| join(&a, b)).collect()),
        (Value::Array(_), Value::Array(_)) => return Err("Two arrays cannot be combined".to_owned()),
    })
}

fn series_of(value: Value) -> Result<Vec<Points>, String> {
    match value {
        Value::Scalar(_) => Err("a time series is expected, not a number".to_owned()),
        Value::Series(points) => Ok(vec![points]),
        Value::Array(all) => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(all: &[(i64, f64)]) -> Points {
        all.iter().copied().collect()
    }

    fn lookup(name: Option<&str>) -> Result<Value, String> {
        let (a, b) = (points(&[(0, 1.0), (60, 2.0)]), points(&[(60, 4.0), (120, 0.0)]));
        match name {
            None => Ok(Value::Array(vec![a, b])),
            Some("a") => Ok(Value::Series(a)),
            Some("b") => Ok(Value::Series(b)),
            Some(other) => Err(format!("Undefined variable '{other}'")),
        }
    }

    #[test]
    fn expressions_have_their_values() {
        let series = |all: &[(i64, f64)]| Ok(Value::Series(points(all)));
        for (text, expected) in [
            ("1 + 2 * 3 - (4 - 1)", Ok(Value::Scalar(4.0))),
            ("100 * a / b", series(&[(60, 50.0)])),
            ("-a", series(&[(0, -1.0), (60, -2.0)])),
            ("SUM(METRICS())", series(&[(0, 1.0), (60, 6.0), (120, 0.0)])),
            ("SUM([a, b]) / 2", series(&[(0, 0.5), (60, 3.0), (120, 0.0)])),
            ("MAX([a,b])", series(&[(0, 1.0), (60, 4.0), (120, 0.0)])),
            ("SUM(a)", Ok(Value::Scalar(3.0))),
            ("a / SUM(a) * 3", series(&[(0, 1.0), (60, 2.0)])),
            ("FILL(a, 0)", series(&[(0, 1.0), (60, 2.0), (120, 0.0)])),
            ("a / 0", series(&[])),
        ] {
            assert_eq!(evaluate(text, &lookup), expected, "{text}");
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        let deep = "(".repeat(100_000);
        let minus = "-".repeat(100_000);
        for text in ["", "a +", "c", "a b", "(a", "RATE(a)", "[a", "[1]", "METRICS() + METRICS()", &deep, &minus] {
            assert!(evaluate(text, &lookup).is_err(), "{text:.20}");
        }
    }
}
