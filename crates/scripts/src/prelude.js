// What a script finds in its world beside the language: getContext, __, console, errors with
// numbers. Called once per run with the host's functions and what is known of the request;
// answers the functions that the engine drives the run with.
//
// Invariant: nothing here is a boundary. A script may change whatever it reaches; the host checks
// every operation again. What the script asks of the collection is kept in a queue and done in
// order, each operation's callback before the next operation.

(function (host, input) {
  "use strict";
  const { parse, stringify } = JSON;
  const { apply, construct } = Reflect;
  const { defineProperty, getOwnPropertyDescriptor } = Object;
  const then = Promise.prototype.then;
  const QUEUE_MAX = 10000;

  // new Error(number, text) is the service's own form; the number becomes the substatus.
  const NativeError = Error;
  const NumberedError = function Error(first, second) {
    const numbered = typeof first === "number" && arguments.length > 1 && typeof second !== "object";
    const made = construct(NativeError, numbered ? [second] : arguments, new.target || NumberedError);
    if (numbered) {
      made.number = first;
      made.description = String(second);
    }
    return made;
  };
  NumberedError.prototype = NativeError.prototype;
  defineProperty(NativeError.prototype, "constructor", { value: NumberedError, writable: true, configurable: true });
  for (const name of ["captureStackTrace", "stackTraceLimit", "prepareStackTrace", "isError"]) {
    const property = getOwnPropertyDescriptor(NativeError, name);
    if (property) defineProperty(NumberedError, name, property);
  }
  globalThis.Error = NumberedError;

  const fail = (number, body) => {
    const error = new NumberedError(number, body);
    error.body = body;
    return error;
  };

  // What the run ends with, if anything; a throw from a callback ends it by itself.
  let failure;
  const failWith = (error) => {
    if (!failure) failure = { error };
  };

  const queue = [];

  // Accepts an operation, or doesn't: near the end of its time or space a run gets no more work.
  const accept = (name, argument, finish) => {
    if (host.closing() || queue.length >= QUEUE_MAX) return false;
    queue.push({ name, argument: stringify(argument), finish });
    return true;
  };

  const checkCallback = (callback) => {
    if (callback !== undefined && callback !== null && typeof callback !== "function") {
      throw fail(400, "The callback must be a function.");
    }
  };

  // The service lets options be left away before a callback.
  const split = (options, callback) => {
    if (typeof options === "function" && callback === undefined) [options, callback] = [undefined, options];
    checkCallback(callback);
    return [options || {}, callback];
  };

  const asText = (value, what) => {
    if (typeof value !== "string") throw fail(400, `${what} must be a string.`);
    return value;
  };

  const asDocument = (value) => {
    const document = typeof value === "string" ? parse(value) : value;
    if (typeof document !== "object" || document === null) throw fail(400, "The document must be an object.");
    return document;
  };

  const one = (callback) => (error, result, options) => {
    if (callback) callback(error, result, options);
    else if (error) throw error;
  };

  const write = (name) => (link, body, options, callback) => {
    const [chosen, done] = split(options, callback);
    const argument = {
      link: asText(link, "The link"),
      body: asDocument(body),
      etag: chosen.etag,
      generateId: !chosen.disableAutomaticIdGeneration,
    };
    return accept(name, argument, one(done));
  };

  const feed = (name, argument, options, finish) =>
    accept(name, { ...argument, pageSize: options.pageSize, continuation: options.continuation }, finish);

  const collection = {
    getSelfLink: () => input.selfLink,
    getAltLink: () => input.altLink,
    createDocument: write("create"),
    upsertDocument: write("upsert"),
    replaceDocument: write("replace"),
    readDocument(link, options, callback) {
      const [chosen, done] = split(options, callback);
      const argument = { link: asText(link, "The link"), ifNoneMatch: chosen.ifNoneMatch };
      return accept("read", argument, one(done));
    },
    deleteDocument(link, options, callback) {
      const [chosen, done] = split(options, callback);
      return accept("delete", { link: asText(link, "The link"), etag: chosen.etag }, one(done));
    },
    queryDocuments(link, query, options, callback) {
      const [chosen, done] = split(options, callback);
      const spec = typeof query === "string" ? { query } : query;
      if (!spec || typeof spec.query !== "string") throw fail(400, "The query must be a string, or an object with a string query.");
      const argument = { link: asText(link, "The link"), query: spec.query, parameters: spec.parameters };
      return feed("query", argument, chosen, one(done));
    },
    readDocuments(link, options, callback) {
      const [chosen, done] = split(options, callback);
      return feed("list", { link: asText(link, "The link") }, chosen, one(done));
    },
  };
  for (const name of ["createAttachment", "readAttachment", "readAttachments", "queryAttachments", "replaceAttachment", "upsertAttachment", "deleteAttachment"]) {
    collection[name] = () => {
      throw fail(501, "Attachments are not served.");
    };
  }

  // The chained queries: each stage makes another list of a page's documents.
  const asFunction = (value) => {
    if (typeof value !== "function") throw fail(400, "The predicate must be a function.");
    return value;
  };
  const compare = (by, sign) => (a, b) => {
    const [x, y] = [by(a), by(b)];
    return x < y ? -sign : x > y ? sign : 0;
  };
  const stages = {
    filter: [1, (by) => (list) => list.filter((each) => by(each))],
    map: [1, (by) => (list) => list.map((each) => by(each))],
    pluck: [1, (name) => (list) => list.map((each) => each[name])],
    flatten: [1, (shallow) => (list) => list.flat(shallow ? 1 : Infinity)],
    sortBy: [1, (by) => (list) => list.sort(compare(by, 1))],
    sortByDescending: [1, (by) => (list) => list.sort(compare(by, -1))],
    unwind: [2, (inner, result) => (list) =>
      list.flatMap((each) => {
        const items = inner(each);
        if (!Array.isArray(items)) return [];
        return result ? items.map((item) => result(each, item)) : items;
      })],
  };
  const runStages = (chosen, options, callback) => {
    const [feedOptions, done] = split(options, callback);
    const finish = (error, documents, info) => {
      let list = documents;
      if (!error) for (const stage of chosen) list = stage(list);
      if (done) done(error, list, info);
      else if (error) throw error;
      else response.setBody(list);
    };
    return { isAccepted: feed("list", { link: input.selfLink }, feedOptions, finish) };
  };
  const stageOf = (name, values) => {
    const [, make] = stages[name];
    const [first, second] = values;
    if (name === "unwind" && second !== undefined) asFunction(second);
    return make(name === "pluck" || name === "flatten" ? first : asFunction(first), second);
  };
  const chain = (chosen) => {
    const link = { value: (options, callback) => runStages(chosen, options, callback) };
    for (const name of Object.keys(stages)) link[name] = (...values) => chain([...chosen, stageOf(name, values)]);
    return link;
  };
  collection.chain = () => chain([]);
  collection.value = (options, callback) => runStages([], options, callback);
  for (const name of Object.keys(stages)) {
    collection[name] = (...values) => {
      let [taken] = stages[name];
      // Optional ones of the stage's own may be left away before options and callback.
      if (name === "flatten" && typeof values[0] !== "boolean" && values[0] !== undefined) taken = 0;
      if (name === "unwind" && typeof values[1] !== "function") taken = values.length > 1 && values[1] === undefined ? 2 : 1;
      const stage = stageOf(name, values.slice(0, taken));
      return runStages([stage], values[taken], values[taken + 1]);
    };
  }

  // A message is a few named values, of which the script may set some; headers are only read.
  const message = (values, writable, changed, headers) => {
    const known = (name) => Object.hasOwn(values, name) || Object.hasOwn(headers, String(name).toLowerCase());
    const set = (name, value) => {
      if (!writable.includes(name)) throw known(name) ? fail(403, `Not a writable property: ${name}`) : fail(400, `Cannot set new values: ${name}`);
      values[name] = value;
      changed[name] = true;
    };
    const append = (name, value) => {
      const old = values[name];
      set(name, old === undefined || old === null ? value : old + value);
    };
    return {
      getBody: () => values.Body,
      getOperationType: () => values.OperationType,
      getValue: (name) => (Object.hasOwn(values, name) ? values[name] : headers[String(name).toLowerCase()]),
      setBody: (value) => set("Body", value),
      setValue: set,
      appendBody: (value) => append("Body", value),
      appendValue: append,
    };
  };
  const pre = input.role === "pre-trigger";
  const requestValues = { Body: input.requestBody, OperationType: input.operationType };
  const responseValues = { Body: input.responseBody, OperationType: input.operationType };
  const [requestChanged, responseChanged] = [{}, {}];
  const request = message(requestValues, pre ? ["Body"] : [], requestChanged, input.requestHeaders);
  const response = message(responseValues, pre ? [] : ["Body"], responseChanged, {});
  const getResponse = () => {
    if (pre) throw fail(400, "A pre-trigger has no response.");
    return response;
  };

  const context = {
    getCollection: () => collection,
    getRequest: () => request,
    getResponse,
    abort(error) {
      failWith(error);
      throw error;
    },
  };
  globalThis.getContext = () => context;
  globalThis.__ = Object.create(collection, {
    request: { get: () => request, enumerable: true },
    response: { get: getResponse, enumerable: true },
  });
  const words = (values) => values.map((value) => (typeof value === "string" ? value : stringify(value) ?? String(value))).join(" ");
  const log = (...values) => host.log(words(values));
  globalThis.console = { log, info: log, warn: log, error: log, debug: log };

  return {
    // Calls the script's function.
    begin(main, parameters) {
      const result = apply(main, undefined, parameters);
      // An async function that fails ends the run, whoever waits for it.
      if (result instanceof Promise) apply(then, result, [undefined, failWith]);
    },
    // Does the oldest operation and calls its callback; whether there was one.
    step() {
      const next = queue.shift();
      if (!next) return false;
      let [error, result, options] = [undefined, undefined, {}];
      try {
        const reply = parse(host.call(next.name, next.argument));
        result = reply.result;
        options = reply.options || {};
      } catch (thrown) {
        // What isn't a refusal may have happened after the operation was done: the script must not go on.
        if (!(typeof thrown.number === "number" && thrown.refused)) {
          failWith(thrown);
          throw thrown;
        }
        error = fail(thrown.number, thrown.body);
      }
      next.finish(error, result, options);
      return true;
    },
    // Throws what the run failed with, if it did.
    check() {
      if (failure) throw failure.error;
    },
    requestBody: () => (requestChanged.Body ? stringify(requestValues.Body) : undefined),
    responseBody: () => (responseChanged.Body ? stringify(responseValues.Body) : undefined),
  };
});
