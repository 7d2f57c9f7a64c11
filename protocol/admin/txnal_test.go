package admin

// txnalCodecs lists the bodies of transactional producers.
func txnalCodecs() []codec {
	const described = "kind:1 more:1 missing:v "
	return []codec{
		body("description_txnals", described+"txnals:v id:s producer:8 epoch:2 timeoutMS:4 begunMS:8 phase:1 parts:v topic:s partition:4",
			Description{Kind: KindTxnal, Txnals: []TxnalInfo{
				{"shop-1", 77, 3, 60_000, 1_700_000_000_000, TxnalOpen, []TxnalPart{{"sales", 2}}},
			}}, DecodeDescription),
		body("description_producers", described+"topics:v topic:s producers:v partition:4 producer:8 epoch:2 sequence:4 usedMS:8 open:1 first:8",
			Description{Kind: KindProducers, Producers: []ProducersInfo{
				{"sales", []ProducerInfo{{2, 77, 3, 99, 1_700_000_000_000, true, 1000}}},
			}}, DecodeDescription),
		body("description_held", described+"groups:v group:s indexes:v index:8 index:8",
			Description{Kind: KindHeld, Held: []HeldInfo{{"g", []uint64{9, 10}}}}, DecodeDescription),
	}
}
