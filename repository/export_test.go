package repository

// ClaimStatement is the statement that Claim sends, without and with history.
func ClaimStatement(history bool) string {
	if history {
		return claimWithHistorySQL
	}
	return claimSQL
}
