"""A hundred JSON schemas of the kinds that people write: (name, schema)."""

STR, INT, NUM, BOOL, NULL = ({"type": t} for t in ("string", "integer", "number", "boolean", "null"))


def obj(properties, required=None, **more):
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, **more}


def arr(items, low=None, high=4, **more):
    bounds = {"maxItems": high} if low is None else {"minItems": low, "maxItems": high}
    return {"type": "array", "items": items, **bounds, **more}


def enum(*values, **more):
    return {"enum": list(values), **more}


SHORT = {"type": "string", "maxLength": 20}
WORD = {"type": "string", "pattern": "^[a-z]{1,8}$"}
POINT = obj({"x": NUM, "y": NUM}, additionalProperties=False)

SCALARS = [
    ("string", SHORT), ("integer", INT), ("number", NUM), ("boolean", BOOL), ("null", NULL),
    ("string of some length", {"type": "string", "minLength": 3, "maxLength": 12}),
    ("string of one length", {"type": "string", "minLength": 5, "maxLength": 5}),
    ("long string", {"type": "string", "maxLength": 100}),
    ("integer in a range", {"type": "integer", "minimum": 1, "maximum": 10}),
    ("integer in a wide range", {"type": "integer", "minimum": -1000, "maximum": 123456}),
    ("negative integer", {"type": "integer", "maximum": -1, "minimum": -99}),
    ("exclusive integer", {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 100}),
    ("non-negative integer", {"type": "integer", "minimum": 0}),
    ("number in a range", {"type": "number", "minimum": 0, "maximum": 1}),
    ("number with fractions as bounds", {"type": "number", "minimum": -2.5, "maximum": 7.25}),
    ("exclusive number", {"type": "number", "exclusiveMinimum": 0, "maximum": 100}),
    ("multiple", {"type": "integer", "multipleOf": 5}),
    ("multiple in a range", {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}),
]
VALUES = [
    ("enum of strings", enum("red", "green", "blue")),
    ("typed enum", enum("N", "E", "S", "W", type="string")),
    ("enum of integers", enum(1, 2, 3, type="integer")),
    ("mixed enum", enum("auto", 0, 1.5, None, True)),
    ("enum with spaces and signs", enum("a b", "c/d", "e\"f", "g\\h")),
    ("enum beyond ASCII", enum("grün", "日本", "naïve")),
    ("const string", {"const": "fixed"}), ("const number", {"const": 42}), ("const null", {"const": None}),
    ("const object", {"const": {"a": [1, 2, {"b": None}]}}),
    ("long enum", enum(*[f"value-{i:02}" for i in range(60)])),
]
PATTERNS = [
    ("zip code", {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}),
    ("telephone", {"type": "string", "pattern": "^\\+?[0-9]{1,3} [0-9]{3}-[0-9]{4}$"}),
    ("hex colour", {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"}),
    ("version", {"type": "string", "pattern": "^(0|[1-9]\\d{0,2})\\.(0|[1-9]\\d{0,2})\\.(0|[1-9]\\d{0,2})$"}),
    ("slug", {"type": "string", "pattern": "^[a-z0-9]{1,8}(?:-[a-z0-9]{1,8}){0,3}$"}),
    ("plate", {"type": "string", "pattern": "^[A-Z]{1,3}-[A-Z]{1,2} [1-9][0-9]{0,3}$"}),
    ("alternatives", {"type": "string", "pattern": "^(GET|PUT|POST|DELETE) /[a-z]{1,10}$"}),
    ("email", {"type": "string", "pattern": "^[a-z.]{1,12}@[a-z]{1,10}\\.(com|org|net)$"}),
]
FORMATS = [(f"format {name}", {"type": "string", "format": name})
           for name in ("date", "time", "date-time", "uuid", "ipv4")] + [
    ("formats in an object", obj({"id": {"type": "string", "format": "uuid"}, "day": {"type": "string", "format": "date"}})),
    ("unknown format", {"type": "string", "format": "colour", "maxLength": 10}),
]
ARRAYS = [
    ("array of integers", arr(INT)), ("array with bounds", arr(BOOL, 2, 5)), ("array of exact length", arr(NUM, 3, 3)),
    ("array of enums", arr(enum("a", "b", "c"), 1, 3)), ("array of arrays", arr(arr(INT, 0, 2), 1, 3)),
    ("array of objects", arr(POINT, 1, 3)), ("empty array", arr(INT, 0, 0)),
    ("array that repeats itself if it likes", arr(WORD, 1, 3, uniqueItems=False)),
    ("tuple", {"type": "array", "prefixItems": [WORD, INT, BOOL], "items": False}),
    ("tuple and more", {"type": "array", "prefixItems": [WORD], "items": INT, "maxItems": 4}),
    ("array of nullable", arr({"type": ["integer", "null"]}, 1, 4)), ("many items", arr(enum(0, 1), 20, 40)),
]
OBJECTS = [
    ("flat", obj({"name": SHORT, "age": INT})),
    ("closed", obj({"a": INT, "b": INT}, additionalProperties=False)),
    ("all optional", obj({"a": INT, "b": BOOL, "c": NULL}, [])),
    ("some optional", obj({"id": INT, "note": WORD, "flag": BOOL, "rate": NUM}, ["id", "flag"])),
    ("optional first", obj({"note": WORD, "id": INT}, ["id"])),
    ("nested", obj({"a": obj({"b": obj({"c": obj({"d": INT})})})})),
    ("empty", obj({}, additionalProperties=False)),
    ("no type", {"properties": {"a": INT}, "required": ["a"]}),
    ("open with values", {"type": "object", "additionalProperties": INT, "maxProperties": 3}),
    ("open beside properties", obj({"id": INT}, additionalProperties=BOOL, maxProperties=3)),
    ("names with signs", obj({"first name": WORD, "e-mail": WORD, "größe": INT, "a\"b": INT})),
    ("names that begin alike", obj({"a": INT, "ab": INT, "abc": INT}, ["ab"])),
    ("many properties", obj({f"p{i}": INT for i in range(25)}, ["p0", "p24"])),
    ("bounded properties", obj({k: INT for k in "abcd"}, [], minProperties=1, maxProperties=2)),
    ("names by pattern", {"type": "object", "patternProperties": {"^x-[a-z]{1,4}$": INT}, "additionalProperties": False,
                          "maxProperties": 3}),
    ("names constrained", {"type": "object", "propertyNames": {"pattern": "^[a-z]{1,4}$"}, "additionalProperties": INT,
                           "maxProperties": 3}),
    ("annotated", obj({"a": {"type": "integer", "title": "A", "description": "first", "default": 3, "examples": [1]}},
                      title="T", description="D")),
    ("unevaluated", obj({"a": INT}, unevaluatedProperties=False)),
]
UNIONS = [
    ("nullable", {"type": ["integer", "null"]}), ("types", {"type": ["boolean", "integer", "null"]}),
    ("any of scalars", {"anyOf": [INT, BOOL, NULL]}),
    ("any of objects", {"anyOf": [obj({"a": INT}), obj({"b": BOOL})]}),
    ("optional as written by generators", obj({"a": {"anyOf": [INT, NULL], "default": None, "title": "A"}}, [])),
    ("one of types", {"oneOf": [INT, BOOL]}),
    ("one of by tag", {"oneOf": [obj({"kind": {"const": "circle"}, "r": NUM}), obj({"kind": {"const": "box"}, "w": NUM})]}),
    ("one of by enum", {"oneOf": [obj({"t": enum("a", "b"), "x": INT}), obj({"t": enum("c"), "y": BOOL})]}),
    ("all of one", {"allOf": [obj({"a": INT})]}),
    ("array of unions", arr({"anyOf": [INT, obj({"v": BOOL})]}, 1, 3)),
    ("anything small", obj({"value": {"type": ["number", "boolean", "null"]}})),
    ("enum or object", {"anyOf": [enum("none"), obj({"level": enum(1, 2, 3)})]}),
]
REFERENCES = [
    ("reference", {"$defs": {"point": POINT}, **obj({"from": {"$ref": "#/$defs/point"}, "to": {"$ref": "#/$defs/point"}})}),
    ("definitions of old", {"definitions": {"w": WORD}, **obj({"w": {"$ref": "#/definitions/w"}})}),
    ("reference to a reference", {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": INT}, "$ref": "#/$defs/a"}),
    ("list by recursion", {"$defs": {"node": obj({"v": BOOL, "next": {"anyOf": [NULL, {"$ref": "#/$defs/node"}]}})},
                           "$ref": "#/$defs/node"}),
    ("tree", {"$defs": {"t": obj({"n": enum(1, 2), "kids": arr({"$ref": "#/$defs/t"}, 0, 2)})}, "$ref": "#/$defs/t"}),
    ("recursion to the root", obj({"leaf": BOOL, "child": {"anyOf": [NULL, {"$ref": "#"}]}})),
    ("array of references", {"$defs": {"c": enum("x", "y")}, **arr({"$ref": "#/$defs/c"}, 1, 4)}),
]
APPLICATIONS = [
    ("person", obj({"name": SHORT, "age": {"type": "integer", "minimum": 0, "maximum": 120},
                    "email": {"type": "string", "pattern": "^[a-z]{1,10}@[a-z]{1,8}\\.com$"},
                    "address": obj({"street": SHORT, "zip": {"type": "string", "pattern": "^[0-9]{5}$"}})})),
    ("tool call", obj({"tool": enum("search", "add"), "arguments": {"anyOf": [obj({"query": SHORT}), obj({"a": INT, "b": INT})]}})),
    ("sentiment", obj({"label": enum("positive", "negative", "neutral"), "score": {"type": "number", "minimum": 0, "maximum": 1}})),
    ("entities", obj({"entities": arr(obj({"text": WORD, "type": enum("PER", "LOC", "ORG")}), 1, 3)})),
    ("invoice", obj({"number": {"type": "string", "pattern": "^INV-[0-9]{4}$"}, "paid": BOOL,
                     "lines": arr(obj({"item": WORD, "count": {"type": "integer", "minimum": 1, "maximum": 99}, "price": NUM}), 1, 2)})),
    ("steps and answer", obj({"steps": arr(WORD, 1, 3), "answer": INT})),
    ("weather", obj({"unit": enum("C", "F"), "degrees": {"type": "integer", "minimum": -60, "maximum": 60},
                     "sky": {"anyOf": [enum("clear", "cloudy"), NULL]}})),
]
SCHEMAS = SCALARS + VALUES + PATTERNS + FORMATS + ARRAYS + OBJECTS + UNIONS + REFERENCES + APPLICATIONS
