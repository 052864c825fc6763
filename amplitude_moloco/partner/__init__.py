"""What destinations that map events one by one have in common, whatever their partner."""
