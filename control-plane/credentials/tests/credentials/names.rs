//! Names, identifiers and times.

use revoq_credentials::*;

fn error<T: std::str::FromStr<Err = NameError> + std::fmt::Debug>(text: &str) -> NameError {
    text.parse::<T>().expect_err("not a valid name")
}

macro_rules! bounds {
    ($($Type:ident $max:literal $good:expr, $bad:expr;)*) => {$(
        let longest = "a".repeat($max);
        assert_eq!(longest.parse::<$Type>().expect("the longest").as_str(), longest);
        assert_eq!(error::<$Type>(&"a".repeat($max + 1)).value.chars().count(), 65.min($max + 1));
        for good in $good {
            assert_eq!(good.parse::<$Type>().expect("valid").to_string(), *good);
        }
        for bad in $bad {
            let error = error::<$Type>(bad);
            assert!(error.to_string().contains(&*error.value) && error.to_string().contains(error.rule));
        }
    )*};
}

#[test]
fn rules() {
    bounds! {
        TenantName 64 &["default", "0", "a.b_c-d"], &["", "A", "-a", "a/b", "ä", "a\0"];
        AuthorityName 64 &["ca-1"], &["", "CA", ".ca"];
        DeviceName 128 &["Sensor_1", "00:11:22@x", "a.b-c"], &["", ":a", "a b", "a/b", "é"];
        AdministratorName 64 &["alice@example.com"], &["", "@alice", "a b"];
        NodeName 64 &["broker-1.example"], &["", "-broker"];
        LabelKey 63 &["example.com/site", "/", "-"], &["", "a=b", "a:b"];
        LabelValue 63 &["", "Halle_3"], &["a/b", "a b", "a=b"];
    }
    assert_eq!(TenantName::default().as_str(), "default");
}

#[test]
fn an_error_names_field_value_and_rule() {
    let error = error::<TenantName>("No");
    assert_eq!(
        error.to_string(),
        "tenant `No` is not valid: 1 to 64 of a-z 0-9 . _ -, starting with a letter or digit"
    );
}

#[test]
fn fingerprints() {
    let fingerprint = Fingerprint::of(b"abc");
    let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(fingerprint.to_string(), hex);
    let upper = hex.to_uppercase();
    let colons = upper.as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c).into_owned());
    let colons = colons.collect::<Vec<_>>().join(":");
    assert_eq!(colons.parse(), Ok(fingerprint));
    assert_eq!(hex.parse(), Ok(fingerprint));
    for bad in ["", &hex[1..], &hex[2..], &format!("{hex}0"), &hex.replace('b', "g"), "::"] {
        error::<Fingerprint>(bad);
    }
    assert_eq!("00112233445566778899aabbccddeeff".parse::<CertificateId>().expect("valid").0[15], 0xff);
    error::<CertificateId>("0011");
}

#[test]
fn serials() {
    for (text, bytes) in [
        ("0", vec![0]),
        ("255", vec![255]),
        ("256", vec![1, 0]),
        ("0x0100", vec![1, 0]),
        ("0X1", vec![1]),
        ("01:00", vec![1, 0]),
        ("00:ff", vec![255]),
        ("1461501637330902918203684832716283019655932542975", vec![255; 20]),
    ] {
        let serial: Serial = text.parse().expect("valid");
        assert_eq!(serial.as_bytes(), bytes, "{text}");
        assert_eq!(serial.to_string().parse(), Ok(serial));
    }
    let too_big = "1461501637330902918203684832716283019655932542976";
    let too_long = format!("0x{}", "ff".repeat(21));
    for bad in ["", "0x", ":", "abc", "-1", "1 2", too_big, &too_long, &"9".repeat(60)] {
        error::<Serial>(bad);
    }
    assert!(Serial::from_bytes(&[]).is_err());
    assert_eq!(Serial::from_bytes(&[0, 0]).expect("zero").as_bytes(), [0]);
}

#[test]
fn times() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(Millis(millis).to_string(), text);
    }
    assert_eq!(Millis(u64::MAX).plus(1), Millis(u64::MAX));
    assert_eq!(Millis(1).minus(2), Millis(0));
}
