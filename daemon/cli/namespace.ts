/** The namespace of a workload that is named without one. Equal to DEFAULT_NAMESPACE, without loading the schemas. */
export const DEFAULT_NAMESPACE_TEXT = 'default';
