//! Numbers as Go writes them on a metrics page.

use std::io::Write;

/// Appends `value` in Go's shortest 'g' form: an exponent below 1e-04 and from 1e+06 on, two digits at least.
pub(super) fn push(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else if value == 0.0 {
        // Go's page writer spells both zeros alike.
        out.push(b'0');
    } else if (1e-4..1e6).contains(&value.abs()) {
        // Rust's plain form is the same shortest digits without an exponent.
        write(out, format_args!("{value}"));
    } else {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific.as_str(), "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        write(out, format_args!("{digits}e{sign}{exponent:0>2}"));
    }
}

/// Appends text; writing to a vector cannot fail.
pub(super) fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _: Result<(), std::io::Error> = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::push;

    fn go(value: f64) -> String {
        let mut out = Vec::new();
        push(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_read_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (27.0, "27"),
            (999_999.0, "999999"),
            (999_999.5, "999999.5"),
            (1_000_000.0, "1e+06"),
            (-1_000_000.0, "-1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (281_474_976_710_656.0, "2.81474976710656e+14"),
            (18_446_744_073_709_551_615.0, "1.8446744073709552e+19"),
            (9_223_372_036_854_775_807.0, "9.223372036854776e+18"),
            (0.0001, "0.0001"),
            (0.000_099, "9.9e-05"),
            (0.000_028_471, "2.8471e-05"),
            (0.000_731_906, "0.000731906"),
            (2.973_518_204, "2.973518204"),
            (1e100, "1e+100"),
            (1e-300, "1e-300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(go(value), text);
        }
    }
}
