/** Names that become part of a DNS name. Apart from the schemas, for those that load no schema library. */

/** RFC 1123 label. */
export const LABEL_PATTERN = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$';
/** The same in words. */
export const LABEL_TEXT = '1 to 63 of a-z, 0-9 and -, with no - at either end';
