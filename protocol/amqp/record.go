package amqp

// PropertiesHeader is the name of the private header with which a record bears the flags and
// properties of the AMQP message that it was, as they came on the wire. It is the record's first.
const PropertiesHeader = "trimq-amqp"
