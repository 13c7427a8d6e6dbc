//! `json!`.

/// A value written as JSON; expressions may stand for values, and in parentheses for names.
#[macro_export]
macro_rules! json {
    (null) => { $crate::Value::Null };
    ([]) => { $crate::Value::Array(::std::vec::Vec::new()) };
    ([ $($items:tt)+ ]) => { $crate::__items!([] $($items)+) };
    ({}) => { $crate::Value::Object($crate::Map::new()) };
    ({ $($fields:tt)+ }) => {{
        let mut fields = $crate::Map::new();
        $crate::__fields!(fields () $($fields)+);
        $crate::Value::Object(fields)
    }};
    ($value:expr) => { $crate::value_of(&$value) };
}

/// Items one after the other: those that are read stand in the brackets.
#[doc(hidden)]
#[macro_export]
macro_rules! __items {
    ([ $($done:expr,)* ]) => { $crate::Value::Array(::std::vec![ $($done,)* ]) };
    ([ $($done:expr,)* ] null $(, $($rest:tt)*)?) => {
        $crate::__items!([ $($done,)* $crate::Value::Null, ] $($($rest)*)?)
    };
    ([ $($done:expr,)* ] [ $($item:tt)* ] $(, $($rest:tt)*)?) => {
        $crate::__items!([ $($done,)* $crate::json!([ $($item)* ]), ] $($($rest)*)?)
    };
    ([ $($done:expr,)* ] { $($item:tt)* } $(, $($rest:tt)*)?) => {
        $crate::__items!([ $($done,)* $crate::json!({ $($item)* }), ] $($($rest)*)?)
    };
    ([ $($done:expr,)* ] $item:expr $(, $($rest:tt)*)?) => {
        $crate::__items!([ $($done,)* $crate::value_of(&$item), ] $($($rest)*)?)
    };
}

/// Fields one after the other: a name's tokens gather in the parentheses up to its colon.
#[doc(hidden)]
#[macro_export]
macro_rules! __fields {
    ($fields:ident ()) => {};
    ($fields:ident ($($name:tt)+) : null $(, $($rest:tt)*)?) => {
        $fields.insert($crate::Key::from($($name)+), $crate::Value::Null);
        $crate::__fields!($fields () $($($rest)*)?);
    };
    ($fields:ident ($($name:tt)+) : [ $($value:tt)* ] $(, $($rest:tt)*)?) => {
        $fields.insert($crate::Key::from($($name)+), $crate::json!([ $($value)* ]));
        $crate::__fields!($fields () $($($rest)*)?);
    };
    ($fields:ident ($($name:tt)+) : { $($value:tt)* } $(, $($rest:tt)*)?) => {
        $fields.insert($crate::Key::from($($name)+), $crate::json!({ $($value)* }));
        $crate::__fields!($fields () $($($rest)*)?);
    };
    ($fields:ident ($($name:tt)+) : $value:expr $(, $($rest:tt)*)?) => {
        $fields.insert($crate::Key::from($($name)+), $crate::value_of(&$value));
        $crate::__fields!($fields () $($($rest)*)?);
    };
    ($fields:ident () ($name:expr) : $($rest:tt)*) => {
        $crate::__fields!($fields ($name) : $($rest)*);
    };
    ($fields:ident ($($name:tt)*) $next:tt $($rest:tt)*) => {
        $crate::__fields!($fields ($($name)* $next) $($rest)*);
    };
}
