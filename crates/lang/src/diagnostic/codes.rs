//! One constant per code. What they mean is in the catalogue.

use super::Code;

/// One constant per code, so that a code that does not exist cannot be written.
macro_rules! constants {
    ($($code:ident)*) => {
        impl Code {
            $(
                #[allow(missing_docs, reason = "the catalogue says what they mean")]
                pub const $code: Code = Code(stringify!($code));
            )*
        }

        #[cfg(test)]
        const CONSTANTS: &[&str] = &[$(stringify!($code)),*];
    };
}

constants! {
    P001 P002 P003 P004 P005 P006 P007 P008 P009 P010 P011 P012
    P013 P014 P015 P016 P017 P018 P019 P020 S101 S102 S103 S104
    S105 S106 S107 S108 S109 S110 S111 S112 S113 S114 S115 S116
    S117 S118 S119 S120 S121 S122 S123 S124 S125 S126 M301 M302
    M303 M304 M305 M306 M307 M308 M309 M310 M311 M312 M313 M314
    M315 Q201 Q202 Q203 Q204 Q205 Q206 Q207 Q208 Q209 Q210 Q211
    Q212 Q213 Q214 Q215 Q216 Q217 Q218 Q219 Q220 Q221 Q222 Q223
    Q224 Q225 Q226 Q227 Q228 Q229 Q231 Q232 Q233 Q234 Q235 Q236
    Q237 Q238 Q239 Q240 W501 W502 W503 W504 W505 W506 W507 W508
    W509 W510 R401 R402 R403 R404 R405 R406 R407 R408 R409 R410
    R411 R412 R413 R414 R415 R416 R417 R418 R419 R420 R421 R422 R423
    R430 R431 R432 R433 R434 R435 R440 R441 R442 R443 R444 R445
    R446 R450 R451 R452 R460 R461
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_catalogue_agree() {
        let listed: Vec<&str> = super::super::catalogue::entries().map(|e| e.code).collect();
        for constant in CONSTANTS {
            assert!(listed.contains(constant), "{constant} is not explained");
        }
        assert_eq!(listed.len(), CONSTANTS.len());
        assert_eq!(Code::parse("S110"), Some(Code::S110));
        assert_eq!(Code::parse("S999"), None);
    }
}
