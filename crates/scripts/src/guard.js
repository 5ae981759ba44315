// Keeps the language's own functions to work that can be stopped. The engine asks whether to stop
// at each call and loop of a script, but these run without asking, for as long as their arguments
// are large: an array of four billion holes costs nothing to make. A script can turn this off; it
// spares time, and is no boundary: the process is, which its server kills.

(function () {
  "use strict";
  const { apply } = Reflect;
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const { isArray } = Array;
  const { isConcatSpreadable } = Symbol;
  const { min } = Math;
  // More elements than fit into a run's memory.
  const LENGTH_MAX = 4000000;
  // Comparisons of characters.
  const SEARCH_MAX = 200000000;

  const guard = (prototype, names, check) => {
    for (const name of names) {
      const native = prototype[name];
      if (typeof native !== "function") continue;
      const guarded = {
        [name](...values) {
          check(this, values);
          return apply(native, this, values);
        },
      }[name];
      defineProperty(guarded, "length", { value: native.length, configurable: true });
      defineProperty(prototype, name, { value: guarded, writable: true, configurable: true });
    }
  };

  // A length that is computed could be another one when it is read again.
  const checkLength = (list) => {
    if (list === undefined || list === null) return;
    const length = getOwnPropertyDescriptor(Object(list), "length");
    if (length === undefined || typeof length.value !== "number" || length.value > LENGTH_MAX) {
      throw new RangeError(`The array is longer than ${LENGTH_MAX}, or its length is no plain number.`);
    }
  };
  guard(
    Array.prototype,
    ["copyWithin", "fill", "flat", "flatMap", "join", "pop", "push", "reverse", "shift", "slice", "sort", "splice", "toLocaleString", "toReversed", "toSorted", "toSpliced", "unshift", "with"],
    checkLength,
  );
  guard(Array.prototype, ["concat"], (list, values) => {
    for (const value of [list, ...values]) {
      if (isArray(value)) checkLength(value);
      else if (typeof value === "object" && value !== null && isConcatSpreadable in value) {
        throw new RangeError("Only arrays are spread.");
      }
    }
  });
  guard(String.prototype, ["includes", "indexOf", "lastIndexOf", "replace", "replaceAll", "split"], (text, values) => {
    const [sought] = values;
    if (typeof text !== "string" && !(text instanceof String)) {
      if (typeof text === "object") throw new TypeError("Only strings are searched.");
      return;
    }
    if (typeof sought === "object" && sought !== null && !(sought instanceof RegExp)) {
      throw new TypeError("Strings are searched for strings and regular expressions only.");
    }
    const long = typeof sought === "string" ? sought.length : 0;
    if (min(long, text.length - long) * text.length > SEARCH_MAX) {
      throw new RangeError("The text is too long to be searched for that.");
    }
  });
  delete String.raw;
});
