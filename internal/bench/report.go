package main

func document(r result) string { return "" }
func chart(r result) string    { return "" }
