// Names that the wire writes as numbers.

/** The criticalities; their places are the codes of the wire. */
export const CRITICALITIES = ['low', 'medium', 'high'];
