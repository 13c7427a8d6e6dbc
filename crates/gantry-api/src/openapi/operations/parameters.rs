//! The parameters of operations.

/// A parameter in a path or a query.
pub struct Parameter {
    pub name: &'static str,
    pub place: &'static str,
    pub kind: &'static str,
    pub about: &'static str,
}

const fn query(name: &'static str, kind: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: "query", kind, about }
}

const fn path(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, place: "path", kind: "string", about }
}

pub const NAME: Parameter = path("name", "name of the");
pub const NAMESPACE: Parameter = path("namespace", "the namespace of the objects");
pub const PATH: Parameter = path("path", "path to the resource");
pub const PRETTY: Parameter = query("pretty", "string", "'true': the answer is indented for people.");

const DRY_RUN: Parameter = query("dryRun", "string", "'All': everything is done but the change itself.");
const FIELD_MANAGER: Parameter =
    query("fieldManager", "string", "The name of who makes the change, by which fields are owned.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What unknown and duplicate fields lead to: 'Ignore', 'Warn' or 'Strict'.",
);
const FORCE: Parameter =
    query("force", "boolean", "Whether an apply takes fields from other managers; for apply patches only.");

const CONTINUE: Parameter =
    query("continue", "string", "The token of an earlier list with a limit, to go on where it ended.");
const FIELD_SELECTOR: Parameter =
    query("fieldSelector", "string", "Selects objects by their fields; everything by default.");
const LABEL_SELECTOR: Parameter =
    query("labelSelector", "string", "Selects objects by their labels; everything by default.");
const LIMIT: Parameter = query("limit", "integer", "The most objects to answer with.");
const RESOURCE_VERSION: Parameter =
    query("resourceVersion", "string", "The version that the objects are to be of, at least or exactly.");
const RESOURCE_VERSION_MATCH: Parameter =
    query("resourceVersionMatch", "string", "How resourceVersion is meant: 'Exact' or 'NotOlderThan'.");
const SEND_INITIAL_EVENTS: Parameter = query(
    "sendInitialEvents",
    "boolean",
    "Whether a watch begins with an event for each object that there is, and a bookmark after them.",
);
const TIMEOUT: Parameter = query("timeoutSeconds", "integer", "How long the request may take, in seconds.");

/// Of lists and watches.
pub const LIST: &[Parameter] = &[
    query("allowWatchBookmarks", "boolean", "Whether a watch may have events of type BOOKMARK."),
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
    query("watch", "boolean", "Whether to watch for changes instead of listing."),
];

/// Of creates and replacements.
pub const CREATE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

/// Of patches.
pub const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];

const GRACE_PERIOD: Parameter =
    query("gracePeriodSeconds", "integer", "How long the object has to end, in seconds.");
const IGNORE_STORE_ERROR: Parameter = query(
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "Whether an object that cannot be read from the store is removed all the same.",
);
const ORPHAN: Parameter =
    query("orphanDependents", "boolean", "Whether dependents stay. Deprecated: use propagationPolicy.");
const PROPAGATION: Parameter = query(
    "propagationPolicy",
    "string",
    "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'.",
);

/// Of deletions.
pub const DELETE: &[Parameter] = &[DRY_RUN, GRACE_PERIOD, IGNORE_STORE_ERROR, ORPHAN, PROPAGATION];

/// Of deletions of many.
pub const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD,
    IGNORE_STORE_ERROR,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
];

const CONTAINER: Parameter =
    query("container", "string", "The container; only a pod with several of them needs it.");
const STDERR: Parameter = query("stderr", "boolean", "Whether standard error is passed on.");
const STDIN: Parameter = query("stdin", "boolean", "Whether standard input is passed on.");
const STDOUT: Parameter = query("stdout", "boolean", "Whether standard output is passed on.");
const TTY: Parameter = query("tty", "boolean", "Whether there is a terminal.");

/// Of logs.
pub const LOG: &[Parameter] = &[
    CONTAINER,
    query("follow", "boolean", "Whether the answer goes on with what is logged later."),
    query(
        "insecureSkipTLSVerifyBackend",
        "boolean",
        "Whether the kubelet's serving certificate is taken without a check.",
    ),
    query("limitBytes", "integer", "The most bytes to answer with."),
    query("previous", "boolean", "Whether the log of the container's earlier run is meant."),
    query("sinceSeconds", "integer", "How far back the log begins, in seconds."),
    query("stream", "string", "The stream: 'All', 'Stdout' or 'Stderr'."),
    query("tailLines", "integer", "How many lines of the log's end to answer with."),
    query("timestamps", "boolean", "Whether each line begins with its time."),
];

/// Of attach.
pub const ATTACH: &[Parameter] = &[CONTAINER, STDERR, STDIN, STDOUT, TTY];

/// Of exec.
pub const EXEC: &[Parameter] = &[
    query("command", "string", "The command and its arguments, each a parameter."),
    CONTAINER,
    STDERR,
    STDIN,
    STDOUT,
    TTY,
];

/// Of port forwarding.
pub const PORT_FORWARD: &[Parameter] = &[query("ports", "integer", "The ports to forward.")];

/// Of proxies.
pub const PROXY: &[Parameter] = &[query("path", "string", "The path of the request that is passed on.")];
